async fn load() -> std::io::Result<()> {
    Ok(())
}

fn main() {
    let _ = xray_core::current().try_in_subsegment("load", |_| load());
}
