use xray_core::TraceExt;

fn main() {
    let load = xray_core::current().begin_subsegment("load");
    load.trace_fn(|_| async {}.subsegment("inner"));
}
