//! A log line bears the trace and the segment or subsegment it was written in,
//! also where nothing is recorded, and nothing where no trace is.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

#[cfg(any(feature = "log-kv", feature = "tracing-subscriber"))]
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

#[cfg(any(feature = "log-kv", feature = "tracing-subscriber"))]
use xray_core::TraceExt;
use xray_core::test_util::TestRecorder;
use xray_core::{LogId, Never, TraceHeader, current};

#[cfg(any(feature = "log-kv", feature = "tracing-subscriber"))]
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[test]
fn the_id_is_trace_and_segment() {
    let recorder = TestRecorder::new("shop");
    let segment = recorder.begin_segment("shop");
    let child = segment.begin_subsegment("load");
    for entity in [&*segment, &*child] {
        let (trace_id, id) = (entity.trace_id().unwrap(), entity.id().unwrap());
        assert_eq!(&*entity.log_id(), format!("{trace_id}@{id}"));
        assert_eq!(entity.log_id().len(), LogId::MAX_LEN);
    }
    assert_ne!(segment.log_id(), child.log_id());
    // The same in every run.
    assert_eq!(
        segment.log_id().to_string(),
        "1-6553f100-000000020000000000000003@6e73e372e2338aca"
    );
    assert_eq!(format!("{:>54}|", segment.log_id()).find('1'), Some(2));
    assert_eq!(&*current().log_id(), "");
}

#[test]
fn the_id_of_what_is_not_recorded_is_real() {
    let recorder = TestRecorder::configured("shop", |builder| builder.sampler(Never));
    let segment = recorder.begin_segment("shop");
    assert!(!segment.is_recorded());
    let (trace_id, id) = (segment.trace_id().unwrap(), segment.id().unwrap());
    assert_eq!(&*segment.log_id(), format!("{trace_id}@{id}"));
    assert!(!segment.log_id().contains("00000000@"));
    // What it calls says the same trace.
    assert_eq!(segment.header().root(), Some(trace_id));
}

#[test]
fn a_trace_without_a_segment_is_the_trace_alone() {
    let off = TestRecorder::configured("shop", |builder| builder.enabled(false));
    let text = "1-66f2a1c0-0123456789abcdef01234567";
    let header = TraceHeader::parse(format!("Root={text}"));
    let segment = off.segment("shop").header(&header).begin();
    assert_eq!(&*segment.log_id(), text);
    assert_eq!(&*off.begin_segment("shop").log_id(), "");
}

/// Logs in five places, and gives the ids of the three that have one.
#[cfg(any(feature = "log-kv", feature = "tracing-subscriber"))]
fn tour(recorder: &TestRecorder, log: &(dyn Fn(&str) + Sync)) -> [LogId; 3] {
    log("before");
    let segment = recorder.begin_segment("shop");
    let entered = segment.enter();
    log("segment");
    let task = async move { log("task") }.in_current();
    let child = segment.begin_subsegment("load");
    child.run(|| log("subsegment"));
    let ids = [segment.log_id(), child.log_id(), segment.log_id()];
    drop((child, entered));
    // A task is polled wherever its executor likes.
    std::thread::scope(|scope| scope.spawn(|| ready(task)).join()).unwrap();
    log("after");
    ids
}

#[cfg(feature = "tracing-subscriber")]
mod through_tracing {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::Dispatch;
    use tracing_subscriber::fmt::format::Writer;
    use tracing_subscriber::fmt::{FmtContext, FormatEvent, MakeWriter, layer};
    use tracing_subscriber::layer::{Layer, SubscriberExt};
    use tracing_subscriber::registry::Registry;
    use xray_core::XRayFormat;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn lines<L: Layer<Registry> + Send + Sync>(
        recorder: &TestRecorder,
        layer: impl FnOnce(Lines) -> L,
    ) -> ([String; 5], [LogId; 3]) {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::registry().with(layer(lines.clone()));
        let dispatch = Dispatch::new(subscriber);
        let ids = tour(recorder, &|place| {
            tracing::dispatcher::with_default(&dispatch, || {
                let _span = tracing::info_span!("span", n = 7).entered();
                tracing::info!(target: "shop", cents = 5, "{place}");
            });
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.try_into().unwrap(), ids)
    }

    #[test]
    fn text_begins_with_it() {
        let recorder = TestRecorder::new("shop");
        let (lines, [segment, subsegment, task]) = lines(&recorder, |lines| {
            let layer = layer().with_writer(lines).with_ansi(false).without_time();
            layer.map_event_format(XRayFormat::text)
        });
        let rest = " INFO span{n=7}: shop:";
        assert_eq!(
            lines,
            [
                format!("{rest} before cents=5"),
                format!("xray={segment} {rest} segment cents=5"),
                format!("xray={subsegment} {rest} subsegment cents=5"),
                format!("xray={task} {rest} task cents=5"),
                format!("{rest} after cents=5"),
            ]
        );
    }

    #[test]
    fn compact_text_begins_with_it_and_keeps_its_colours() {
        let recorder = TestRecorder::new("shop");
        let plain = lines(&recorder, |lines| {
            let layer = layer().compact().without_time();
            layer.with_writer(lines).with_ansi(true)
        });
        let (lines, [segment, subsegment, task]) = lines(&recorder, |lines| {
            let layer = layer().compact().without_time();
            let layer = layer.with_writer(lines).with_ansi(true);
            layer.map_event_format(XRayFormat::text)
        });
        let [before, at_segment, at_subsegment, in_task, after] = plain.0;
        assert!(at_segment.contains("\u{1b}[32m"), "{at_segment}");
        assert_eq!(
            lines,
            [
                before,
                format!("xray={segment} {at_segment}"),
                format!("xray={subsegment} {at_subsegment}"),
                format!("xray={task} {in_task}"),
                after,
            ]
        );
    }

    #[test]
    fn an_object_has_it_first() {
        let recorder = TestRecorder::new("shop");
        let (lines, [segment, subsegment, task]) = lines(&recorder, |lines| {
            let layer = layer().json().with_writer(lines).without_time();
            layer.map_event_format(XRayFormat::json)
        });
        let rest = |place| {
            format!(
                r#""level":"INFO","fields":{{"message":"{place}","cents":5}},"target":"shop","span":{{"n":7,"name":"span"}},"spans":[{{"n":7,"name":"span"}}]}}"#
            )
        };
        let expected = [
            format!("{{{}", rest("before")),
            format!(r#"{{"xray":"{segment}",{}"#, rest("segment")),
            format!(r#"{{"xray":"{subsegment}",{}"#, rest("subsegment")),
            format!(r#"{{"xray":"{task}",{}"#, rest("task")),
            format!("{{{}", rest("after")),
        ];
        assert_eq!(lines, expected);
        for line in lines {
            let read: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read["fields"]["cents"], 5);
        }
    }

    /// Formats what it is given, in as many pieces as it is given.
    struct Pieces(&'static [&'static str]);

    impl<S, N> FormatEvent<S, N> for Pieces
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
        N: for<'a> tracing_subscriber::fmt::FormatFields<'a> + 'static,
    {
        fn format_event(
            &self,
            _: &FmtContext<'_, S, N>,
            mut writer: Writer<'_>,
            _: &tracing::Event<'_>,
        ) -> std::fmt::Result {
            let mut pieces = self.0.iter();
            pieces.try_for_each(|piece| std::fmt::Write::write_str(&mut writer, piece))
        }
    }

    #[test]
    fn an_object_stays_one_however_it_is_written() {
        let cases: [(&[&str], Value); 6] = [
            (&["{}\n"], json!({})),
            (&["{", "}", "\n"], json!({})),
            (&["", "{", " ", "", "}\n"], json!({})),
            (&["{\"a\":{}}\n"], json!({"a": {}})),
            (&["{", "\"a\"", ":1", "}\n"], json!({"a": 1})),
            (
                &["  { ", "\"a\":{", "\"b\":2}", "}\n"],
                json!({"a": {"b": 2}}),
            ),
        ];
        let recorder = TestRecorder::new("shop");
        for (pieces, mut expected) in cases {
            let (lines, [segment, ..]) = lines(&recorder, |lines| {
                let layer = layer().with_writer(lines);
                layer.event_format(XRayFormat::json(Pieces(pieces)))
            });
            let read: Value = serde_json::from_str(&lines[0]).unwrap();
            assert_eq!(read, expected, "{pieces:?}");
            let read: Value = serde_json::from_str(&lines[1]).unwrap();
            expected["xray"] = Value::from(&*segment);
            assert_eq!(read, expected, "{pieces:?}");
        }
    }

    #[test]
    fn what_is_not_recorded_is_on_the_lines_too() {
        let recorder = TestRecorder::configured("shop", |builder| builder.sampler(Never));
        let (lines, [segment, ..]) = lines(&recorder, |lines| {
            let layer = layer().with_writer(lines).with_ansi(false).without_time();
            layer.map_event_format(XRayFormat::text)
        });
        assert!(lines[1].starts_with(&format!("xray={segment} ")));
        assert!(segment.starts_with("1-6553f100-"));
        recorder.expect_nothing();
    }
}

#[cfg(feature = "log-kv")]
mod through_log {
    use std::sync::Mutex;

    use log::kv::{Error, Key, Source, Value, VisitSource};
    use log::{Level, Log, Metadata, Record};
    use xray_core::XRayLogger;

    use super::*;

    /// Writes a line with all keys and values.
    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Log for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.level() <= Level::Info
        }

        fn log(&self, record: &Record<'_>) {
            let (target, args) = (record.target(), record.args());
            let mut line = Line(format!("{target}:{}: {args}", record.line().unwrap()));
            record.key_values().visit(&mut line).unwrap();
            self.0.lock().unwrap().push(line.0);
        }

        fn flush(&self) {
            self.0.lock().unwrap().push("flushed".into());
        }
    }

    struct Line(String);

    impl<'kvs> VisitSource<'kvs> for Line {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
            self.0 += &format!(" {key}={value}");
            Ok(())
        }
    }

    fn log(to: &dyn Log, place: &str, pairs: &dyn Source) {
        let mut record = Record::builder();
        record.target("shop").line(Some(3)).level(Level::Info);
        let record = record.key_values(pairs);
        to.log(&record.args(format_args!("{place}")).build());
    }

    #[test]
    fn each_record_has_it_beside_what_it_has() {
        for sampler in [true, false] {
            let recorder = TestRecorder::configured("shop", |builder| match sampler {
                true => builder,
                false => builder.sampler(Never),
            });
            let lines = XRayLogger::new(Lines::default());
            let [segment, subsegment, task] =
                tour(&recorder, &|place| log(&lines, place, &("cents", 5)));
            assert_eq!(
                written(lines),
                [
                    "shop:3: before cents=5".to_owned(),
                    format!("shop:3: segment cents=5 xray={segment}"),
                    format!("shop:3: subsegment cents=5 xray={subsegment}"),
                    format!("shop:3: task cents=5 xray={task}"),
                    "shop:3: after cents=5".to_owned(),
                    "flushed".to_owned(),
                ]
            );
        }
    }

    fn written(lines: XRayLogger<Lines>) -> Vec<String> {
        lines.flush();
        std::mem::take(&mut *lines.into_inner().0.lock().unwrap())
    }

    #[test]
    fn a_record_that_has_it_keeps_it() {
        let recorder = TestRecorder::new("shop");
        let lines = XRayLogger::new(Lines::default());
        recorder.begin_segment("shop").run(|| {
            log(&lines, "own", &("xray", "mine"));
        });
        assert_eq!(written(lines), ["shop:3: own xray=mine", "flushed"]);
        let lines = XRayLogger::new(Lines::default());
        let debug = Metadata::builder().level(Level::Debug).build();
        assert!(!lines.enabled(&debug));
    }

    #[test]
    fn an_id_is_a_source_and_a_value_of_its_own() {
        let recorder = TestRecorder::new("shop");
        let segment = recorder.begin_segment("shop");
        let lines = Lines::default();
        let id = segment.log_id();
        log(&lines, "source", &id);
        log(&lines, "value", &("trace", &id));
        log(&lines, "nowhere", &current().log_id());
        assert_eq!(
            *lines.0.lock().unwrap(),
            [
                format!("shop:3: source xray={id}"),
                format!("shop:3: value trace={id}"),
                "shop:3: nowhere".to_owned(),
            ]
        );
    }
}
