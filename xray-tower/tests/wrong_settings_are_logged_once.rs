//! A wrong host or pattern is logged once. There is one logger for the process,
//! so one test.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Mutex;

use xray_core::Recorder;
use xray_tower::{XRayClientLayer, XRayLayer};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.target(), "xray");
        LINES.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn what_is_no_host_is_logged_once_and_shown() {
    log::set_logger(&Lines).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let (recorder, _capture) = Recorder::capture("shop");
    // Made anew for every request, as some programs do.
    for _ in 0..1_000 {
        let client: XRayClientLayer = XRayClientLayer::new()
            .propagate_only_to(["*.internal", "10.0.*", "a b"])
            .never_propagate_to(["https://me:hunter2@evil.example/"])
            .host("stock.internal/x")
            .host("me:hunter2@stock.internal");
        let server: XRayLayer = XRayLayer::new(recorder.clone()).name_from_host(["a*", "*"]);
        let shown = format!("{client:?} {server:?}");
        let invalid = [
            r#"["10.0.*", "a b"]"#,
            r#"["…@evil.example/"]"#,
            r#"["a*"]"#,
        ];
        for invalid in invalid {
            assert!(shown.contains(invalid), "{shown}");
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let lines = LINES.lock().unwrap();
    assert_eq!(
        *lines,
        [
            r#"propagate_only_to: no host, `*.suffix`, address or range: ["10.0.*", "a b"]"#,
            r#"never_propagate_to: no host, `*.suffix`, address or range: ["…@evil.example/"]"#,
            r#"host: no host: "stock.internal/x""#,
            r#"host: no host: "…@stock.internal""#,
            r#"name_from_host: no host, `*.suffix`, address or range: ["a*"]"#,
        ]
    );
}
