async fn load() {}

fn main() {
    xray_core::current().in_subsegment("load", |_| load());
}
