//! What happens where a subsegment begins and no trace is: one policy for the
//! process, so one test for all of them.

// With that feature the lines go elsewhere.
#![cfg(not(feature = "tracing"))]

use std::sync::Mutex;

use xray_core::{ContextMissing, Recorder, context_missing, current};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert_eq!(record.target(), "xray");
        // A logger that is itself traced begins below what is suppressed.
        assert!(!current().begin_subsegment("log").is_recorded());
        LINES
            .lock()
            .expect("no test panics here")
            .push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn policy(policy: ContextMissing) {
    let builder = Recorder::builder("shop").ignore_environment();
    builder
        .send_inline()
        .context_missing(policy)
        .build()
        .expect("nothing in it can fail");
}

#[test]
fn missing_context_is_logged_ignored_or_a_panic() {
    log::set_logger(&Lines).unwrap();
    log::set_max_level(log::LevelFilter::Warn);

    // The default: a line, and then none for ten seconds.
    for _ in 0..1_000 {
        current().begin_subsegment("lost").annotate("a", 1);
    }
    assert_eq!(context_missing(), 1_000);
    assert_eq!(
        *LINES.lock().unwrap(),
        [r#"no trace for subsegment "lost""#]
    );

    policy(ContextMissing::Ignore);
    current().begin_subsegment("lost").close();
    assert_eq!(context_missing(), 1_001);

    policy(ContextMissing::Panic);
    let panicked = std::panic::catch_unwind(|| current().begin_subsegment("lost"));
    let message = *panicked.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(
        message,
        r#"X-Ray: no trace is current where subsegment "lost" begins"#
    );

    // Never while the thread unwinds already: that would abort the process.
    struct InDrop;
    impl Drop for InDrop {
        fn drop(&mut self) {
            current().begin_subsegment("cleaned up").close();
        }
    }
    let panicked = std::panic::catch_unwind(|| {
        let _in_drop = InDrop;
        panic!("the program's own");
    });
    assert_eq!(
        *panicked.unwrap_err().downcast::<&str>().unwrap(),
        "the program's own"
    );
    assert_eq!(context_missing(), 1_003);

    // Switched off, nothing is missing.
    let off = Recorder::builder("shop")
        .ignore_environment()
        .enabled(false)
        .build()
        .unwrap();
    off.begin_segment("shop")
        .run(|| current().begin_subsegment("fine").close());
    assert_eq!(context_missing(), 1_003);
    assert_eq!(LINES.lock().unwrap().len(), 1);
}
