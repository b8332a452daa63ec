//! Calls through a channel of tonic's, whose requests name no host.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{only, shape};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, service_fn};
use xray_core::{Recorder, TraceHeader};
use xray_tower::{XRayClient, XRayClientLayer};

/// The tracing headers of requests that came in.
type Seen = Arc<Mutex<Vec<Option<String>>>>;

/// A server that knows no method.
async fn serve(seen: Seen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = service_fn(move |request: Request<Incoming>| {
        let line = request.headers().get("x-amzn-trace-id");
        let line = line.map(|line| line.to_str().unwrap().to_owned());
        seen.lock().unwrap().push(line);
        async move {
            drop(request.into_body().collect().await);
            let response = Response::builder().header("content-type", "application/grpc");
            let response = response.header("grpc-status", "12");
            Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

#[tokio::test]
async fn a_channel_is_told_of_by_origin_or_host() {
    let seen = Seen::default();
    let address = serve(seen.clone()).await;
    let origin: http::Uri = format!("http://{address}").parse().unwrap();
    let layer = XRayClientLayer::new;
    let host = address.to_string();
    let (here, other) = ("127.0.0.0/8", "evil.example");
    let path = "/grpc.health.v1.Health/Check";
    let url = format!("http://{address}{path}");
    let unknown = ("Unknown host", path);
    let known = ("127.0.0.1", &*url);
    for (layer, with_origin, told, (name, url)) in [
        (layer(), false, true, unknown),
        (layer().never_propagate_to([here]), false, false, unknown),
        (layer().never_propagate_to([other]), false, false, unknown),
        (layer().propagate_only_to([here]), false, false, unknown),
        (
            layer().propagate_only_to([here]).host(&host),
            false,
            true,
            known,
        ),
        (
            layer().never_propagate_to([here]).host(&host),
            false,
            false,
            known,
        ),
        (
            layer().never_propagate_to([other]).host(&host),
            false,
            true,
            known,
        ),
        (layer().propagate_only_to([here]), true, true, known),
        (layer().never_propagate_to([here]), true, false, known),
        (layer().never_propagate_to([other]), true, true, known),
    ] {
        let (recorder, capture) = Recorder::capture("shop");
        let endpoint = Endpoint::from_shared(origin.to_string()).unwrap();
        let channel: XRayClient<Channel> = layer.layer(endpoint.connect_lazy());
        let mut client = if with_origin {
            HealthClient::with_origin(channel, origin.clone())
        } else {
            HealthClient::new(channel)
        };
        let segment = recorder.begin_segment("shop");
        let request = HealthCheckRequest::default();
        let answer = segment.scope(client.check(request)).await;
        assert_eq!(answer.unwrap_err().code(), tonic::Code::Unimplemented);
        segment.close();
        let call = only(&recorder, &capture).subsegments.remove(0);
        assert_eq!(call.name, name, "{layer:?}");
        let expected = json!({"method": "POST", "url": url});
        assert_eq!(shape(&call)["http"]["request"], expected, "{layer:?}");
        let line = seen.lock().unwrap().pop().unwrap();
        assert_eq!(line.is_some(), told, "{layer:?}");
        let parent = line.and_then(|line| TraceHeader::parse(line).parent());
        assert_eq!(parent.map(|id| id.to_string()), told.then_some(call.id));
    }
}
