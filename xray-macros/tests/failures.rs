//! What goes wrong in a function under `#[subsegment]` stands in its document.

mod common;

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};

use common::{fault, finish, pause, traced};
use serde_json::json;
use xray_core::subsegment;

#[test]
fn an_err_is_a_fault() {
    #[subsegment]
    fn plain(fails: bool) -> Result<u8, io::Error> {
        if fails {
            return Err(io::Error::other("out of tea"));
        }
        Ok(1)
    }
    #[subsegment]
    fn alias() -> io::Result<u8> {
        plain(true).map_err(|_| io::Error::other("out of coffee"))
    }
    #[subsegment]
    async fn of_anyhow() -> anyhow::Result<()> {
        pause().await;
        anyhow::bail!("out of milk")
    }
    #[subsegment]
    fn boxed() -> Result<(), Box<dyn std::error::Error>> {
        Err("out of sugar".into())
    }
    #[subsegment]
    async fn of_fmt() -> std::fmt::Result {
        Err(std::fmt::Error)
    }

    let (_, subsegments) = traced(|| plain(false).unwrap());
    assert_eq!(subsegments, json!([{ "name": "plain" }]));

    let (_, subsegments) = traced(|| {
        plain(true).unwrap_err();
        finish(of_anyhow()).unwrap_err();
        boxed().unwrap_err();
        finish(of_fmt()).unwrap_err();
    });
    let written = "an error occurred when formatting an argument";
    assert_eq!(
        subsegments,
        json!([
            fault("plain", "std::io::error::Error", "out of tea"),
            fault("of_anyhow", "anyhow::Error", "out of milk"),
            fault("boxed", "Error", "out of sugar"),
            fault("of_fmt", "core::fmt::Error", written),
        ])
    );

    let (_, subsegments) = traced(|| alias().unwrap_err());
    let mut outer = fault("alias", "std::io::error::Error", "out of coffee");
    outer["subsegments"] = json!([fault("plain", "std::io::error::Error", "out of tea")]);
    assert_eq!(subsegments, json!([outer]));
}

#[test]
fn a_question_mark_returns_from_the_function_and_is_recorded() {
    #[derive(Debug)]
    enum Failure {
        Number(std::num::ParseIntError),
    }
    impl std::fmt::Display for Failure {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let Self::Number(error) = self;
            write!(f, "no number: {error}")
        }
    }
    impl std::error::Error for Failure {}
    impl From<std::num::ParseIntError> for Failure {
        fn from(error: std::num::ParseIntError) -> Self {
            Self::Number(error)
        }
    }
    #[subsegment]
    fn parse(text: &str) -> Result<u8, Failure> {
        let number: u8 = text.parse()?;
        Ok(number)
    }
    #[subsegment]
    async fn parse_async(text: &str) -> Result<u8, Failure> {
        pause().await;
        Ok(text.parse::<u8>()?)
    }
    let (results, subsegments) = traced(|| {
        parse("many").unwrap_err();
        finish(parse_async("many")).unwrap_err();
        (parse("3").unwrap(), finish(parse_async("4")).unwrap())
    });
    assert_eq!(results, (3, 4));
    let kind = std::any::type_name::<Failure>();
    let message = "no number: invalid digit found in string";
    assert_eq!(
        subsegments,
        json!([
            fault("parse", kind, message),
            fault("parse_async", kind, message),
            { "name": "parse" },
            { "name": "parse_async" },
        ])
    );
}

#[test]
fn an_error_that_is_handed_up_is_written_once() {
    #[subsegment]
    async fn inner() -> io::Result<()> {
        Err(io::Error::other("out of tea"))
    }
    #[subsegment]
    async fn outer() -> io::Result<()> {
        inner().await?;
        Ok(())
    }
    let (_, subsegments) = traced(|| finish(outer()).unwrap_err());
    let inner = fault("inner", "std::io::error::Error", "out of tea");
    assert!(subsegments[0]["cause"].is_string());
    assert_eq!(subsegments[0]["subsegments"], json!([inner]));
}

#[test]
fn errors_are_ignored_on_demand() {
    #[subsegment(ignore_err)]
    fn ignored() -> Result<u8, String> {
        Err("not to be recorded".into())
    }
    #[subsegment(ignore_err)]
    async fn ignored_async() -> Result<u8, String> {
        Err("not to be recorded".into())
    }
    let (_, subsegments) = traced(|| {
        ignored().unwrap_err();
        finish(ignored_async()).unwrap_err();
    });
    assert_eq!(
        subsegments,
        json!([{ "name": "ignored" }, { "name": "ignored_async" }])
    );
}

#[test]
fn an_alias_of_another_name_is_recorded_on_demand() {
    type Answer = Result<u8, io::Error>;
    #[subsegment]
    fn unknown() -> Answer {
        Err(io::Error::other("unseen"))
    }
    #[subsegment(err)]
    fn known() -> Answer {
        Err(io::Error::other("seen"))
    }
    #[subsegment(err)]
    async fn known_async() -> Answer {
        Err(io::Error::other("seen"))
    }
    let (_, subsegments) = traced(|| {
        unknown().unwrap_err();
        known().unwrap_err();
        finish(known_async()).unwrap_err();
    });
    assert_eq!(
        subsegments,
        json!([
            { "name": "unknown" },
            fault("known", "std::io::error::Error", "seen"),
            fault("known_async", "std::io::error::Error", "seen"),
        ])
    );
}

#[test]
fn a_panic_is_a_fault_and_goes_on() {
    #[subsegment]
    fn falls() {
        panic!("boom");
    }
    #[subsegment]
    fn never() -> ! {
        panic!("never")
    }
    #[subsegment]
    async fn falls_async() -> ! {
        pause().await;
        panic!("boom later")
    }
    let (_, subsegments) = traced(|| {
        catch_unwind(falls).unwrap_err();
        catch_unwind(|| never()).unwrap_err();
        catch_unwind(AssertUnwindSafe(|| finish(falls_async()))).unwrap_err();
    });
    assert_eq!(
        subsegments,
        json!([
            fault("falls", "panic", "boom"),
            fault("never", "panic", "never"),
            fault("falls_async", "panic", "boom later"),
        ])
    );
}

#[test]
fn an_async_function_that_is_dropped_midway_is_cancelled() {
    #[subsegment]
    async fn load() {
        pause().await;
    }
    let (_, subsegments) = traced(|| {
        let mut work = Box::pin(load());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(work.as_mut().poll(&mut cx).is_pending());
    });
    assert_eq!(
        subsegments,
        json!([{
            "name": "load",
            "error": true,
            "cause": { "exceptions": [{
                "type": "Cancelled",
                "message": "dropped before it was done",
            }] },
        }])
    );
}
