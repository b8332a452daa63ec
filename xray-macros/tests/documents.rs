//! What functions under `#[subsegment]` leave in the document.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use xray_core::{Recorder, TraceExt, current, subsegment};

/// Runs `work` in a segment and returns what it gave, and the segment's
/// subsegments without their ids and times.
fn traced<R>(work: impl FnOnce() -> R) -> (R, Value) {
    let (recorder, capture) = Recorder::capture("shop");
    let segment = recorder.begin_segment("shop");
    let result = segment.run(work);
    segment.close();
    let documents = capture.json();
    assert_eq!(documents.len(), 1);
    let mut document: Value = serde_json::from_slice(&documents[0]).expect("JSON");
    without_ids(&mut document);
    (result, document["subsegments"].take())
}

fn without_ids(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for member in ["id", "start_time", "end_time", "working_directory"] {
                members.remove(member);
            }
            // Which line it was, each test would have to count.
            if let Some(stack) = members.remove("stack") {
                assert_eq!(stack[0]["path"], file!(), "the user's file, not ours");
            }
            members.values_mut().for_each(without_ids);
        }
        Value::Array(items) => items.iter_mut().for_each(without_ids),
        _ => {}
    }
}

/// Polls until done; nothing here waits for anything but [`Yield`].
fn finish<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Pending once.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn fault(name: &str, kind: &str, message: &str) -> Value {
    json!({
        "name": name,
        "fault": true,
        "cause": { "exceptions": [{ "type": kind, "message": message }] },
    })
}

#[subsegment]
fn nothing() {}

#[subsegment]
fn price(items: u32) -> u32 {
    items * 5
}

#[subsegment]
async fn load(items: u32) -> u32 {
    pause().await;
    items + 1
}

#[subsegment(name = "load cart")]
fn named() {}

#[subsegment]
fn r#match() {}

#[test]
fn a_function_is_a_subsegment_of_its_name() {
    assert_eq!(traced(nothing), ((), json!([{ "name": "nothing" }])));
    assert_eq!(traced(|| price(3)), (15, json!([{ "name": "price" }])));
    assert_eq!(traced(|| finish(load(3))), (4, json!([{ "name": "load" }])));
    assert_eq!(traced(r#match), ((), json!([{ "name": "match" }])));
}

#[test]
fn the_name_can_be_another() {
    assert_eq!(traced(named), ((), json!([{ "name": "load cart" }])));
}

#[test]
fn functions_nest() {
    #[subsegment]
    fn outer() -> u32 {
        price(1) + finish(load(2))
    }
    #[subsegment]
    async fn outer_async() -> u32 {
        pause().await;
        let price = price(1);
        price + load(2).await
    }
    let inner = json!([{ "name": "price" }, { "name": "load" }]);
    assert_eq!(
        traced(outer),
        (8, json!([{ "name": "outer", "subsegments": inner }]))
    );
    assert_eq!(
        traced(|| finish(outer_async())),
        (8, json!([{ "name": "outer_async", "subsegments": inner }]))
    );
}

#[test]
fn the_body_runs_as_the_subsegment() {
    #[subsegment]
    fn annotates() {
        current().annotate("here", true);
    }
    assert_eq!(
        traced(annotates).1,
        json!([{ "name": "annotates", "annotations": { "here": true } }])
    );
}

#[derive(serde::Serialize)]
struct Cart {
    number: u64,
    items: Vec<&'static str>,
}

fn cart() -> Cart {
    Cart {
        number: 7,
        items: vec!["tea"],
    }
}

#[test]
fn only_arguments_that_are_named_are_recorded() {
    #[subsegment(annotate(user, count, plan, r#type, known), metadata(cart, plan))]
    fn order(
        user: &str,
        count: usize,
        plan: String,
        r#type: &String,
        mut known: bool,
        cart: Cart,
        card_number: &str,
    ) -> (String, usize) {
        known = !known;
        let _ = (known, r#type, card_number);
        (plan + user, cart.items.len() + count)
    }
    let (result, subsegments) = traced(|| {
        let kind = "gift".to_owned();
        order("ann", 3, "gold".into(), &kind, true, cart(), "4111")
    });
    assert_eq!(result, ("goldann".to_owned(), 4));
    assert_eq!(
        subsegments,
        json!([{
            "name": "order",
            "annotations": {
                "user": "ann", "count": 3, "plan": "gold", "type": "gift", "known": true,
            },
            "metadata": { "default": { "cart": { "number": 7, "items": ["tea"] }, "plan": "gold" } },
        }])
    );
}

#[test]
fn an_async_function_records_its_arguments_too() {
    #[subsegment(annotate(user), metadata(cart))]
    async fn order(user: String, cart: &Cart) -> String {
        pause().await;
        user + cart.items[0]
    }
    let (result, subsegments) = traced(|| finish(order("ann".into(), &cart())));
    assert_eq!(result, "anntea");
    assert_eq!(
        subsegments,
        json!([{
            "name": "order",
            "annotations": { "user": "ann" },
            "metadata": { "default": { "cart": { "number": 7, "items": ["tea"] } } },
        }])
    );
}

#[test]
fn what_a_pattern_binds_is_an_argument() {
    #[subsegment(annotate(number, second), metadata(all))]
    fn parts(Cart { number, .. }: Cart, (_, second): (u8, u8), all @ [_, _]: [u8; 2]) -> u64 {
        number + u64::from(second) + u64::from(all[0])
    }
    let (result, subsegments) = traced(|| parts(cart(), (1, 2), [3, 4]));
    assert_eq!(result, 12);
    assert_eq!(
        subsegments,
        json!([{
            "name": "parts",
            "annotations": { "number": 7, "second": 2 },
            "metadata": { "default": { "all": [3, 4] } },
        }])
    );
}

#[test]
fn arguments_are_not_touched_where_nothing_is_recorded() {
    struct Fussy;
    impl Clone for Fussy {
        fn clone(&self) -> Self {
            panic!("cloned");
        }
    }
    impl From<Fussy> for xray_core::AnnotationValue<'_> {
        fn from(_: Fussy) -> Self {
            true.into()
        }
    }
    #[subsegment(annotate(fussy))]
    fn work(fussy: Fussy) -> u8 {
        let Fussy = fussy;
        1
    }
    assert_eq!(work(Fussy), 1);
}

#[test]
fn a_namespace_says_what_the_name_stands_for() {
    #[subsegment(namespace = "remote", name = "stock.example.com")]
    fn remote() -> u8 {
        1
    }
    #[subsegment(namespace = "aws", name = "DynamoDB", ignore_err)]
    async fn aws() -> Result<u8, u8> {
        Err(2)
    }
    let (results, subsegments) = traced(|| (remote(), finish(aws())));
    assert_eq!(results, (1, Err(2)));
    assert_eq!(
        subsegments,
        json!([
            { "name": "stock.example.com", "namespace": "remote" },
            { "name": "DynamoDB", "namespace": "aws" },
        ])
    );
}

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
fn an_async_function_begins_when_it_is_polled() {
    let (_, subsegments) = traced(|| {
        drop(load(1));
        let made_outside = load(2);
        let elsewhere = current().begin_subsegment("elsewhere");
        elsewhere.run(|| finish(made_outside));
        elsewhere.close();
    });
    assert_eq!(
        subsegments,
        json!([{ "name": "elsewhere", "subsegments": [{ "name": "load" }] }])
    );
}

#[test]
fn an_async_function_that_is_dropped_midway_is_cancelled() {
    let (_, subsegments) = traced(|| {
        let mut work = Box::pin(load(1));
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

#[test]
fn arguments_are_dropped_within_the_subsegment() {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            current().annotate("dropped", true);
        }
    }
    #[subsegment]
    fn holds(guard: Guard) {
        let _guard = &guard;
    }
    #[subsegment]
    async fn holds_async(guard: Guard) {
        pause().await;
        let _guard = &guard;
    }
    let (_, subsegments) = traced(|| {
        holds(Guard);
        finish(holds_async(Guard));
    });
    assert_eq!(
        subsegments,
        json!([
            { "name": "holds", "annotations": { "dropped": true } },
            { "name": "holds_async", "annotations": { "dropped": true } },
        ])
    );
}

struct Shop {
    visits: u32,
    names: Vec<String>,
}

trait Till {
    const NAME: &'static str;

    fn total(&self, items: &[u32]) -> Result<u32, io::Error>;

    async fn charge(&mut self, amount: u32) -> Result<u32, io::Error>;

    #[subsegment]
    fn described(&self) -> &'static str {
        Self::NAME
    }

    #[subsegment]
    async fn described_async(&self) -> &'static str {
        Self::NAME
    }
}

impl Till for Shop {
    const NAME: &'static str = "till";

    #[subsegment]
    fn total(&self, items: &[u32]) -> Result<u32, io::Error> {
        Ok(self.visits + items.iter().sum::<u32>())
    }

    #[subsegment(annotate(amount))]
    async fn charge(&mut self, amount: u32) -> Result<u32, io::Error> {
        pause().await;
        self.visits += amount;
        Ok(self.visits)
    }
}

impl Shop {
    #[subsegment]
    fn first_name(&mut self) -> &mut String {
        self.visits += 1;
        &mut self.names[0]
    }

    #[subsegment]
    async fn second_name(&mut self, _unused: &str) -> &mut String {
        pause().await;
        &mut self.names[1]
    }

    #[subsegment]
    fn into_names(mut self) -> Vec<String> {
        self.names.sort();
        self.names
    }

    #[subsegment]
    fn boxed(self: Box<Self>) -> Self {
        *self
    }

    #[subsegment]
    pub(crate) fn new() -> Self {
        Self {
            visits: 0,
            names: vec!["b".into(), "a".into()],
        }
    }
}

#[test]
fn methods_keep_their_self() {
    let (_, subsegments) = traced(|| {
        let mut shop = *Box::new(Box::new(Shop::new()).boxed());
        shop.first_name().push('!');
        finish(shop.second_name("")).push('?');
        assert_eq!(shop.total(&[2, 3]).unwrap(), 6);
        assert_eq!(finish(shop.charge(4)).unwrap(), 5);
        assert_eq!(
            (shop.described(), finish(shop.described_async())),
            ("till", "till")
        );
        assert_eq!(shop.into_names(), ["a?", "b!"]);
    });
    assert_eq!(
        subsegments,
        json!([
            { "name": "new" },
            { "name": "boxed" },
            { "name": "first_name" },
            { "name": "second_name" },
            { "name": "total" },
            { "name": "charge", "annotations": { "amount": 4 } },
            { "name": "described" },
            { "name": "described_async" },
            { "name": "into_names" },
        ])
    );
}

#[test]
fn self_is_an_argument() {
    #[derive(serde::Serialize)]
    struct Till {
        open: bool,
    }
    impl Till {
        #[subsegment(metadata(self))]
        fn show(&self) -> bool {
            self.open
        }
    }
    assert_eq!(
        traced(|| Till { open: true }.show()).1,
        json!([{ "name": "show", "metadata": { "default": { "self": { "open": true } } } }])
    );
}

#[subsegment]
fn longest<'a>(a: &'a str, b: &'a str) -> &'a str {
    if a.len() < b.len() {
        return b;
    }
    a
}

#[subsegment]
async fn longest_async<'a, T>(a: &'a [T], b: &'a [T]) -> Option<&'a [T]>
where
    T: PartialEq,
{
    if a.len() < b.len() {
        return Some(b);
    }
    pause().await;
    Some(a)
}

#[subsegment]
fn doubled(numbers: impl IntoIterator<Item = u32>) -> impl Iterator<Item = u32> {
    numbers.into_iter().map(|number| number * 2)
}

#[subsegment]
fn fallible_iterator<const N: usize>(
    numbers: [u32; N],
) -> Result<impl Iterator<Item = u32>, io::Error> {
    Ok(numbers.into_iter())
}

#[subsegment(annotate(value))]
fn shown<'a, T: Into<xray_core::AnnotationValue<'a>> + Clone>(value: T) -> T {
    value
}

#[subsegment]
fn generic_error<E: std::error::Error + 'static>(error: E) -> Result<(), E> {
    Err(error)
}

#[subsegment]
async fn generic_error_async<E: std::error::Error + 'static>(error: E) -> Result<(), E> {
    Err(error)
}

#[subsegment]
fn made() -> Box<dyn Fn(u32) -> u32> {
    Box::new(|number| number + 1)
}

#[subsegment]
async fn made_async(up: bool) -> Box<dyn Fn(u32) -> u32 + Send> {
    if up {
        return Box::new(|number| number + 1);
    }
    Box::new(|number| number - 1)
}

#[test]
fn generics_and_lifetimes_stay() {
    traced(|| {
        assert_eq!(longest("a", "bc"), "bc");
        assert_eq!(finish(longest_async(&[1], &[])), Some(&[1][..]));
        assert_eq!(doubled([1, 2]).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(fallible_iterator([1, 2]).unwrap().sum::<u32>(), 3);
        assert_eq!(shown("x"), "x");
        assert_eq!(generic_error(std::fmt::Error), Err(std::fmt::Error));
        assert_eq!(
            finish(generic_error_async(std::fmt::Error)),
            Err(std::fmt::Error)
        );
        assert_eq!((made()(1), finish(made_async(true))(2)), (2, 3));
    });
}

#[test]
fn arguments_may_be_changed() {
    #[subsegment]
    fn count(mut from: u32, list: &mut Vec<u32>, (mut a, b): (u32, u32)) -> u32 {
        while from > 0 {
            list.push(from);
            from -= 1;
        }
        a += b;
        a
    }
    #[subsegment]
    async fn count_async(mut from: u32, list: &mut Vec<u32>) {
        while from > 0 {
            list.push(from);
            from -= 1;
            pause().await;
        }
    }
    let mut list = Vec::new();
    traced(|| {
        assert_eq!(count(2, &mut list, (3, 4)), 7);
        finish(count_async(1, &mut list));
    });
    assert_eq!(list, [2, 1, 1]);
}

#[test]
fn a_future_is_send_if_it_was() {
    #[subsegment]
    async fn not_sync(cell: Cell<u32>) -> Result<u32, io::Error> {
        pause().await;
        cell.set(cell.get() + 1);
        Ok(cell.get())
    }
    fn sent<F: Future + Send>(work: F) -> F {
        work
    }
    let (result, subsegments) = traced(|| finish(sent(not_sync(Cell::new(1)))));
    assert_eq!(result.unwrap(), 2);
    assert_eq!(subsegments, json!([{ "name": "not_sync" }]));
}

#[test]
fn names_of_the_user_do_not_clash() {
    #[subsegment(annotate(xray_subsegment))]
    fn clashes(xray_subsegment: u32, never: u32) -> u32 {
        xray_subsegment + never
    }
    #[subsegment(annotate(xray_subsegment))]
    async fn clashes_async(xray_subsegment: u32, never: u32) -> Option<u32> {
        Some(xray_subsegment + never)
    }
    #[expect(dead_code, reason = "none is called, though all are in scope")]
    trait Shadow {
        fn annotate(self, _: &str, _: u32)
        where
            Self: Sized,
        {
        }
        fn trace(self, _: u32)
        where
            Self: Sized,
        {
        }
        fn begin(self)
        where
            Self: Sized,
        {
        }
    }
    impl<T> Shadow for T {}
    let (results, subsegments) = traced(|| (clashes(1, 2), finish(clashes_async(3, 4))));
    assert_eq!(results, (3, Some(7)));
    assert_eq!(
        subsegments,
        json!([
            { "name": "clashes", "annotations": { "xray_subsegment": 1 } },
            { "name": "clashes_async", "annotations": { "xray_subsegment": 3 } },
        ])
    );
}

#[test]
fn the_core_may_be_found_elsewhere() {
    mod telemetry {
        pub(crate) mod xray {
            pub(crate) use xray_core::*;
        }
    }
    #[telemetry::xray::subsegment(crate = telemetry::xray, name = "elsewhere")]
    fn elsewhere() {}
    assert_eq!(traced(elsewhere).1, json!([{ "name": "elsewhere" }]));
}

#[test]
fn other_attributes_stay() {
    #[must_use]
    #[subsegment]
    #[inline]
    #[deprecated]
    fn old() -> u8 {
        #![allow(unused_variables)]
        let unused = 1;
        1
    }
    #[expect(deprecated)]
    let (result, _) = traced(old);
    assert_eq!(result, 1);
}

#[test]
fn it_composes_with_the_extension_trait() {
    let (_, subsegments) = traced(|| finish(load(1).subsegment("around")));
    assert_eq!(
        subsegments,
        json!([{ "name": "around", "subsegments": [{ "name": "load" }] }])
    );
}
