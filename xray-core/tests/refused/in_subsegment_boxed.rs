use std::pin::Pin;

fn main() {
    let work = |_: &_| -> Pin<Box<dyn Future<Output = ()>>> { Box::pin(async {}) };
    xray_core::current().in_subsegment("load", work);
}
