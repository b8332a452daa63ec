//! `#[subsegment]` on the methods of an `#[async_trait]`, and on functions that
//! box a future by hand.

// An argument that is recorded and nothing else is used.
#![deny(unused_variables)]

mod common;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};

use async_trait::async_trait;
use common::{fault, finish, pause, traced};
use serde_json::json;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use xray_core::{current, subsegment};

#[async_trait]
trait Stock: Sync {
    async fn count(&self, item: &str) -> Result<usize, io::Error>;

    async fn take(&mut self, mut items: Vec<String>);

    async fn note(&self, number: u8, text: String) -> u8;

    #[subsegment]
    async fn described(&self) -> String {
        pause().await;
        "stock".to_owned()
    }
}

struct Shelf {
    items: Vec<String>,
}

#[async_trait]
impl Stock for Shelf {
    #[subsegment(annotate(item))]
    async fn count(&self, item: &str) -> Result<usize, io::Error> {
        pause().await;
        current().annotate("in_the_body", true);
        let found = self.items.iter().filter(|have| *have == item).count();
        match found {
            0 => Err(io::Error::other("out of it"))?,
            found => Ok(found),
        }
    }

    #[subsegment(name = "take out", metadata(items))]
    async fn take(&mut self, mut items: Vec<String>) {
        pause().await;
        self.items.append(&mut items);
    }

    #[subsegment(annotate(number), metadata(text))]
    async fn note(&self, number: u8, text: String) -> u8 {
        7
    }
}

#[test]
fn a_method_of_an_async_trait_is_traced_as_it_runs() {
    let mut shelf = Shelf { items: vec![] };
    let (_, subsegments) = traced(|| {
        finish(shelf.take(vec!["tea".into()]));
        let stock: &dyn Stock = &shelf;
        assert_eq!(finish(stock.count("tea")).unwrap(), 1);
        finish(stock.count("cup")).unwrap_err();
        assert_eq!(finish(stock.described()), "stock");
        assert_eq!(finish(stock.note(3, "cups".into())), 7);
    });
    let count = |item: &str| json!({ "item": item, "in_the_body": true });
    let mut failed = fault("count", "std::io::error::Error", "out of it");
    failed["annotations"] = count("cup");
    assert_eq!(
        subsegments,
        json!([
            { "name": "take out", "metadata": { "default": { "items": ["tea"] } } },
            { "name": "count", "annotations": count("tea") },
            failed,
            { "name": "described" },
            {
                "name": "note",
                "annotations": { "number": 3 },
                "metadata": { "default": { "text": "cups" } },
            },
        ])
    );
}

#[test]
fn a_method_of_an_async_trait_begins_when_polled() {
    let shelf = Shelf { items: vec![] };
    let (_, subsegments) = traced(|| {
        drop(shelf.count("never polled"));
        let mut dropped = shelf.count("dropped midway");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
    });
    let mut cancelled = fault("count", "Cancelled", "dropped before it was done");
    cancelled["annotations"] = json!({ "item": "dropped midway" });
    let flags = cancelled.as_object_mut().unwrap();
    flags.remove("fault");
    flags.insert("error".into(), true.into());
    assert_eq!(subsegments, json!([cancelled]));
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[test]
fn a_future_boxed_by_hand_is_traced_as_it_runs() {
    #[subsegment]
    fn parse(text: &str) -> Pin<Box<dyn Future<Output = Result<u8, io::Error>> + Send>> {
        let text = text.to_owned();
        Box::pin(async move {
            pause().await;
            let number = text.parse().map_err(io::Error::other)?;
            Ok(number)
        })
    }
    #[subsegment]
    fn by_alias(number: u8) -> Boxed<u8> {
        std::boxed::Box::pin(async move { number })
    }
    #[subsegment]
    #[rustfmt::skip]
    fn with_a_comma(number: u8) -> Boxed<u8> {
        Box::pin(async move { number },)
    }
    struct Kept(Option<Boxed<u8>>);
    impl Kept {
        #[subsegment]
        fn keep(&mut self) {
            self.0 = Some(Box::pin(async move { 7 }));
        }
    }
    let (_, subsegments) = traced(|| {
        drop(parse("never polled"));
        finish(parse("many")).unwrap_err();
        assert_eq!(finish(by_alias(3)), 3);
        assert_eq!(finish(with_a_comma(4)), 4);
        let mut kept = Kept(None);
        kept.keep();
        assert_eq!(finish(kept.0.unwrap()), 7);
    });
    assert_eq!(
        subsegments,
        json!([
            fault("parse", "std::io::error::Error", "invalid digit found in string"),
            { "name": "by_alias" },
            { "name": "with_a_comma" },
            { "name": "keep" },
        ])
    );
}

struct Well;

#[tonic::async_trait]
impl Health for Well {
    #[subsegment]
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        pause().await;
        match request.into_inner().service.as_str() {
            "" => Ok(Response::new(HealthCheckResponse {
                status: ServingStatus::Serving.into(),
            })),
            other => Err(Status::not_found(format!("no service {other}"))),
        }
    }

    type WatchStream = tonic::codegen::BoxStream<HealthCheckResponse>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}

#[test]
fn a_method_of_a_tonic_service_is_traced() {
    let mut client = HealthClient::new(HealthServer::new(Well));
    let mut check = |service: &str| {
        finish(client.check(HealthCheckRequest {
            service: service.to_owned(),
        }))
    };
    let (_, subsegments) = traced(|| {
        let well = check("").unwrap().into_inner();
        assert_eq!(well.status(), ServingStatus::Serving);
        assert_eq!(check("stock").unwrap_err().message(), "no service stock");
    });
    let message = Status::not_found("no service stock").to_string();
    assert_eq!(
        subsegments,
        json!([
            { "name": "check" },
            fault("check", "tonic::status::Status", &message),
        ])
    );
}
