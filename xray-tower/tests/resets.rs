//! Clients that reset their connection in the middle of a response.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::{assert_balanced, eventually, serve};
use http::Response;
use http_body::{Body, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::{Layer, service_fn};
use xray_core::Recorder;
use xray_tower::XRayLayer;

/// More than sockets buffer, so that it cannot be sent to a client that left.
struct Large(u32);

impl Body for Large {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        let data = Bytes::from_static(&[b'x'; 64 * 1024]);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_resets_are_a_thousand_cancellations() {
    const RESETS: usize = 1000;
    let (recorder, capture) = Recorder::capture("shop");
    let layer = XRayLayer::new(recorder.clone());
    let handler = service_fn(async |_| Ok::<_, Infallible>(Response::new(Large(1024))));
    let address = serve(layer.layer(handler)).await;
    for reset in 0..RESETS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut response = vec![0; 1 + reset * 7919 % 100_000];
        stream.read_exact(&mut response).await.unwrap();
        stream.set_zero_linger().unwrap();
    }
    eventually(&recorder, RESETS, &capture).await;
    assert_balanced(&recorder);
    let documents = capture.documents();
    assert_eq!(documents.len(), RESETS);
    for document in &documents {
        assert!(document.error && !document.fault);
        let kinds = document
            .exceptions()
            .iter()
            .map(|exception| exception.kind.as_deref());
        assert_eq!(kinds.collect::<Vec<_>>(), [Some("Cancelled")]);
    }
}
