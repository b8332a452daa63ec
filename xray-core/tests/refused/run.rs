async fn load() {}

fn main() {
    let (recorder, _capture) = xray_core::Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    segment.run(|| async { load().await });
}
