fn call<F: Future>(make: impl FnOnce() -> F) -> F {
    xray_core::current().in_subsegment("call", |_| make())
}

fn main() {
    call(|| async {});
}
