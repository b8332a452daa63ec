//! Tests that need sockets, processes or whole runtimes, and what they share.

pub mod fuzz;
pub mod places;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use xray_core::document::Document;
use xray_core::{Always, Documents, Recorder, RecorderBuilder};

/// The header line, without what ends it.
pub(crate) const HEADER: &[u8] = b"{\"format\":\"json\",\"version\":1}";

/// The document behind the header line, which blanks may end.
pub fn document_of(datagram: &[u8]) -> Option<&[u8]> {
    let mut rest = datagram.strip_prefix(HEADER)?;
    while let Some(behind) = rest.strip_prefix(b" ") {
        rest = behind;
    }
    rest.strip_prefix(b"\n")
}

/// Fails unless both ledgers balance and nothing is open, queued or listed as
/// alive. What another thread is about to book is waited for.
#[track_caller]
pub fn balance(recorder: &Recorder) {
    let until = Instant::now() + Duration::from_secs(5);
    while (recorder.documents().queued, recorder.entities().open) != (0, 0)
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (entities, documents) = (recorder.entities(), recorder.documents());
    assert!(entities.is_balanced(), "{entities:?}");
    assert!(documents.is_balanced(), "{documents:?}");
    assert_eq!(entities.open, 0, "{entities:?}");
    assert_eq!(documents.queued, 0, "{documents:?}");
    assert_eq!(recorder.open_entities(), 0);
    assert_eq!(recorder.snapshot(), []);
}

/// The whole way: fails unless both ledgers [`balance`], and what was sent is
/// what the daemon received and what the kernel threw away before it could.
#[track_caller]
pub fn delivered(recorder: &Recorder, received: u64, kernel_drops: u64) -> Documents {
    balance(recorder);
    let documents = recorder.documents();
    let arrived = received + kernel_drops;
    assert_eq!(
        documents.sent, arrived,
        "{received} received, {kernel_drops} dropped by the kernel: {documents:?}"
    );
    documents
}

/// Random enough to spread over a range, and the same in each run.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed but zero.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From zero up to, not including, `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The settings of a recorder that sends to `daemon`.
pub fn sends_to(daemon: SocketAddr) -> RecorderBuilder {
    Recorder::builder("test")
        .ignore_environment()
        .sampler(Always)
        .daemon_address(daemon)
}

/// Whoever takes documents by UDP: nothing but a socket.
#[derive(Debug)]
pub struct Daemon(UdpSocket);

impl Daemon {
    /// Listens on any port of the loopback address.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub fn start() -> io::Result<Self> {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// When somebody else does.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self(socket))
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// When the operating system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next datagram.
    ///
    /// # Errors
    ///
    /// When none comes within ten seconds.
    pub fn datagram(&self) -> io::Result<Vec<u8>> {
        let mut datagram = vec![0; 65_536];
        let bytes = self.0.recv(&mut datagram)?;
        datagram.truncate(bytes);
        Ok(datagram)
    }

    /// The document in the next datagram.
    ///
    /// # Errors
    ///
    /// When none comes, or it is not framed as the daemon has it.
    pub fn document(&self) -> io::Result<Document> {
        let datagram = self.datagram()?;
        let json = document_of(&datagram).ok_or_else(|| io::Error::other("no header line"))?;
        Ok(Document::from_json(json)?)
    }

    /// Whether nothing more comes in a while.
    ///
    /// # Errors
    ///
    /// When the socket cannot be asked.
    pub fn is_idle(&self) -> io::Result<bool> {
        self.0.set_read_timeout(Some(Duration::from_millis(50)))?;
        let idle = self.datagram().is_err();
        self.0.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(idle)
    }
}

/// All that a strict daemon received, once so many came. Fails unless each is a
/// document that the daemon and the collector take, and that says nothing
/// without need.
#[track_caller]
pub fn accepted(daemon: &xray_local::Daemon, count: usize) -> Vec<xray_local::Received> {
    daemon.wait_for(count, Duration::from_secs(20));
    let all = daemon.received();
    assert_eq!(all.len(), count, "datagrams");
    for received in &all {
        let text = || String::from_utf8_lossy(&received.bytes);
        if let Err(rejected) = &received.verdict {
            assert!(received.verdict.is_ok(), "{rejected}\n{}", text());
        }
        assert_eq!(received.untidy(), [], "{}", text());
    }
    all
}

/// An address of the loopback interface where nobody listens.
///
/// # Errors
///
/// When no port is free.
pub fn nobody() -> io::Result<SocketAddr> {
    Daemon::start()?.address()
}

/// The parent of each entity by id, and its name, however the documents were
/// cut.
pub fn rejoin<'a>(
    documents: impl IntoIterator<Item = &'a Document>,
) -> BTreeMap<String, (Option<String>, String)> {
    let mut tree = BTreeMap::new();
    for outermost in documents {
        let own = (outermost.parent_id.clone(), outermost.name.clone());
        tree.insert(outermost.id.clone(), own);
        for above in outermost.walk() {
            for child in &above.subsegments {
                tree.insert(
                    child.id.clone(),
                    (Some(above.id.clone()), child.name.clone()),
                );
            }
        }
    }
    tree
}

/// Segments with 1 to 20 subsegments; how many of both.
pub fn record(recorder: &Recorder, seed: u64, segments: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut entities = 0;
    for _ in 0..segments {
        let segment = recorder.begin_segment("shop");
        let children = 1 + random.below(20);
        for _ in 0..children {
            segment.begin_subsegment("part").close();
        }
        segment.close();
        entities += 1 + children;
    }
    entities
}
