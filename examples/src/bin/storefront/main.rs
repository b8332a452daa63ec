//! Two axum services in one process, traced from end to end.
//!
//! `cargo run -p xray-examples --bin storefront` serves on 127.0.0.1:3000 and,
//! without a daemon, prints every trace as a tree. With `--requests N` it
//! drives N requests at itself. Ctrl-C or SIGTERM ends it after its last
//! request. Its last line tells what became of the documents.

mod drive;
mod inventory;
mod options;
mod storefront;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use xray_core::{Always, Recorder};
use xray_local::Daemon;

use crate::options::{Options, USAGE};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return Ok(writeln!(std::io::stdout(), "{USAGE}")?),
        Err(message) => {
            writeln!(std::io::stderr(), "{message}")?;
            std::process::exit(2);
        }
    };
    let daemon = stand_in()?;
    let recorders = Recorders::new(daemon.as_ref(), options.queue)?;

    let listener = listen(&options.listen).await?;
    let address = listener.local_addr()?;
    let inventory = match &options.inventory_url {
        Some(url) => url.clone(),
        None => {
            let listener = listen(&options.inventory).await?;
            let url = format!("http://{}", listener.local_addr()?);
            let service = inventory::service(recorders.inventory.clone());
            tokio::spawn(async move { axum::serve(listener, service).await });
            url
        }
    };
    let service = storefront::service(recorders.storefront.clone(), &inventory);
    let serving = axum::serve(listener, service);

    if let Some(requests) = options.requests {
        tokio::spawn(async move { serving.await });
        drive::drive(address, requests).await?;
    } else {
        writeln!(
            std::io::stderr(),
            "storefront on http://{address}, inventory on {inventory}"
        )?;
        serving.with_graceful_shutdown(told_to_end()).await?;
    }
    let documents = recorders.shutdown().await;
    if let Some(daemon) = daemon {
        daemon.wait_for(documents.sent, Duration::from_secs(5));
        daemon.stop(); // prints what is still unfinished
    }
    writeln!(std::io::stdout(), "{}", documents.to_json())?;
    Ok(())
}

/// Ctrl-C, or the SIGTERM by which an orchestrator ends a container.
async fn told_to_end() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await; // only a kill ends it then
        }
    };
    tokio::select! {
        () = interrupted => {}
        () = terminated() => {}
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => drop(terminated.recv().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}

/// The embedded stand-in, unless a daemon is named. It prints each trace.
fn stand_in() -> anyhow::Result<Option<Arc<Daemon>>> {
    if std::env::var("AWS_XRAY_DAEMON_ADDRESS").is_ok_and(|address| !address.is_empty()) {
        return Ok(None);
    }
    let daemon = Daemon::builder()
        .on_trace(|trace| {
            let _ = writeln!(std::io::stdout(), "{trace}");
        })
        .on_received(|received| {
            if let Err(rejected) = &received.verdict {
                let _ = writeln!(std::io::stderr(), "{rejected}");
            }
        })
        .start()?;
    Ok(Some(Arc::new(daemon)))
}

/// One recorder a service.
struct Recorders {
    storefront: Recorder,
    inventory: Recorder,
}

impl Recorders {
    fn new(daemon: Option<&Arc<Daemon>>, queue: Option<usize>) -> anyhow::Result<Self> {
        let recorder = |name: &str| {
            // A demonstration wants to be seen: a service would keep the default.
            let mut builder = Recorder::builder(name)
                .sampler(Always)
                .service_version(env!("CARGO_PKG_VERSION"));
            if let Some(pieces) = queue {
                builder = builder.queue_limits(pieces, 32 << 20);
            }
            if let Some(daemon) = daemon {
                builder = builder.daemon_address(daemon.address());
            }
            builder.build()
        };
        Ok(Self {
            storefront: recorder("storefront")?,
            inventory: recorder("inventory")?,
        })
    }

    /// Sends what is queued, and tells what became of all documents.
    async fn shutdown(&self) -> Sum {
        let mut sum = Sum::default();
        let (storefront, inventory) = (&self.storefront, &self.inventory);
        let time = Duration::from_secs(10);
        tokio::join!(storefront.flush(time), inventory.flush(time));
        let time = Duration::from_secs(1);
        tokio::join!(storefront.shutdown(time), inventory.shutdown(time));
        sum.add(storefront);
        sum.add(inventory);
        sum
    }
}

/// The documents of both services.
#[derive(Default)]
struct Sum {
    created: u64,
    sent: usize,
    lost: std::collections::BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, recorder: &Recorder) {
        let documents = recorder.documents();
        self.created += documents.created;
        self.sent += documents.sent as usize;
        for (reason, count) in documents.lost {
            *self.lost.entry(reason.to_string()).or_default() += count;
        }
    }

    fn to_json(&self) -> String {
        let lost = serde_json::json!(self.lost);
        let (created, sent) = (self.created, self.sent);
        format!(r#"{{"created":{created},"sent":{sent},"lost":{lost}}}"#)
    }
}
