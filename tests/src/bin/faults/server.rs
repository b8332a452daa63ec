//! A real server, whose clients go away.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, service_fn};
use xray_local::Daemon;
use xray_tests::{delivered, sends_to};
use xray_tower::XRayLayer;

use crate::Fault;

pub(crate) const FAULTS: &[Fault] = &[Fault {
    name: "client-resets",
    test: "T-33",
    what: "clients of a hyper server reset their connection at any byte of the response: one segment each, an error of type Cancelled, nothing stays open",
    amount: 10_000,
    unit: "resets",
    minutes: 5,
    run: client_resets,
}];

const LONG: Duration = Duration::from_secs(60);

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

async fn large(_: Request<Incoming>) -> Result<Response<Large>, Infallible> {
    Ok(Response::new(Large(1024)))
}

async fn serve(layer: XRayLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let service = layer.layer(service_fn(large));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                let _ = connection.await; // clients go when they please
            });
        }
    });
    address
}

async fn reset(address: SocketAddr, after: usize) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut response = vec![0; after];
    stream.read_exact(&mut response).await.expect("it answers");
    stream.set_zero_linger().expect("a socket");
}

fn client_resets(resets: u64) -> String {
    let cancelled = Arc::new(AtomicU64::new(0));
    let hook = {
        let cancelled = cancelled.clone();
        move |one: &xray_local::Received| {
            let Ok(document) = &one.verdict else { return };
            let kinds = document.exceptions();
            let kinds = kinds.iter().map(|exception| exception.kind.as_deref());
            let is_cancelled = kinds.eq([Some("Cancelled")]);
            if is_cancelled && document.error && !document.fault {
                cancelled.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let daemon = Daemon::builder().max_bytes(1 << 20).on_received(hook);
    let daemon = daemon.start().expect("a socket");
    let recorder = sends_to(daemon.address()).build().expect("a thread");
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let address = serve(XRayLayer::new(recorder.clone())).await;
        for at in 0..resets as usize {
            reset(address, 1 + at * 7919 % 100_000).await;
        }
        let until = std::time::Instant::now() + LONG;
        while recorder.entities().begun < resets || recorder.open_entities() > 0 {
            assert!(
                std::time::Instant::now() < until,
                "{} open",
                recorder.open_entities()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(recorder.flush(LONG).wait().is_complete());
    daemon.stop();
    let drops = daemon.kernel_drops().expect("Linux");
    let documents = delivered(&recorder, daemon.received_count() as u64, drops);
    assert_eq!((documents.created, documents.sent), (resets, resets));
    let cancelled = cancelled.load(Ordering::Relaxed);
    assert_eq!(cancelled + drops, resets, "{drops} dropped by the kernel");
    format!(
        "{resets} resets, {} documents created and sent, {cancelled} received as cancelled, {drops} dropped by the kernel, none open",
        documents.created
    )
}
