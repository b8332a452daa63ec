//! `#[subsegment]` leaves a function as it was for whoever calls it.

mod common;

use std::cell::Cell;
use std::future::Future;
use std::io;

use common::{finish, pause, traced};
use serde_json::json;
use xray_core::subsegment;

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

#[subsegment]
async fn fallible_iterator_async<'a>(
    numbers: &'a [u32],
) -> Result<impl Iterator<Item = &'a u32>, io::Error> {
    pause().await;
    Ok(numbers.iter())
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
        let numbers = finish(fallible_iterator_async(&[1, 2]));
        assert_eq!(numbers.unwrap().sum::<u32>(), 3);
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
