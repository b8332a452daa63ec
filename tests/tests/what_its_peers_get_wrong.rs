//! What other X-Ray clients for Rust were found to get wrong: each of their
//! defects is a test here, named after what goes wrong.
//!
//! | defect of a peer | test |
//! |---|---|
//! | 1. without a subscriber the traced call itself fails | `xray-tower/tests/what_its_peers_get_wrong.rs` |
//! | 2. a feature does not compile alone | none here: `.ci/features.py` compiles each |
//! | 3. a document over 64 kB loses the rest of its batch | [`one_large_document_does_not_lose_those_behind_it`] |
//! | 4. so does a daemon that was away | [`a_daemon_that_was_away_loses_nothing_behind_it`] |
//! | 5. a burst is lost and called delivered | [`a_burst_reaches_a_reader_that_looks_away`], [`what_the_kernel_drops_is_not_called_delivered`] |
//! | 6. a blank in a header hides it, `Self` is passed on | [`a_blank_in_a_header_hides_nothing_and_self_is_not_passed_on`] |
//! | 7. unsampled traces are sent | [`what_is_not_sampled_is_not_sent`] |
//! | 8. concurrent calls overwrite each other | `xray-tower/tests/what_its_peers_get_wrong.rs` |
//! | 9. a long name is cut within a character | [`a_long_name_is_cut_between_characters`] |
//! | 10. with blanks `Parent` and `Sampled` are unknown | [`a_blank_in_a_header_hides_nothing_and_self_is_not_passed_on`] |
//! | 11. a refused datagram loses the work and its header | [`a_refused_datagram_costs_neither_the_work_nor_its_header`], and on a call's wire `xray-tower/tests/what_its_peers_get_wrong.rs` |
//! | 12. the line before a document ends in a backslash and an n | [`the_line_before_a_document_ends_in_a_line_feed`] |
//! | 13. an invocation's header is ignored, its errors unseen | [`invocations_go_on_with_their_own_headers_and_their_errors_are_seen`] |
//! | 14. a dependency is pinned, and fits no other graph | [`nothing_is_pinned_and_nothing_of_opentelemetry_is_needed`] |
//!
//! Of 1, 8 and 13 the peers' defects were in interceptors of AWS's SDK and in a
//! layer of Lambda's runtime. There is none of either here yet; what is tested
//! is the same promise of the layers for HTTP and of the core's facade.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use xray_core::{Loss, Recorder, Sampled, TraceHeader, current};
use xray_local::Document;
use xray_tests::{Daemon, accepted, balance, document_of, nobody, rejoin, sends_to};

const LONG: Duration = Duration::from_secs(20);
const ROOT: &str = "1-66f2a1c0-0123456789abcdef01234567";
const PARENT: &str = "53995c3f42cd8ad8";

/// `opentelemetry-aws` stops at the datagram that the kernel refuses: of eleven
/// three arrived.
#[test]
fn one_large_document_does_not_lose_those_behind_it() {
    // How large the fourth is, and whether anything of it can be sent.
    for (limit, arrives) in [(64_000, true), (1_024, false)] {
        let daemon = xray_local::Daemon::start().unwrap();
        let builder = sends_to(daemon.address()).document_limit(limit);
        let recorder = builder.build().unwrap();
        for at in 0..11 {
            let segment = recorder.begin_segment(&format!("number {at}"));
            if at == 3 {
                segment.metadata("large", "l".repeat(40_000));
                segment.metadata("as large", "l".repeat(40_000));
                for key in 0..if arrives { 1 } else { 50 } {
                    segment.annotate(&format!("{key:0500}"), key); // never cut
                }
            }
        }
        assert!(recorder.flush(LONG).wait().is_complete());
        let expected: Vec<_> = (0..11)
            .filter(|at| *at != 3 || arrives)
            .map(|at| format!("number {at}"))
            .collect();
        let names = accepted(&daemon, expected.len()).into_iter();
        let names: Vec<_> = names.map(|one| one.verdict.unwrap().name).collect();
        assert_eq!(names, expected);
        let lost = recorder.documents().lost.get(&Loss::TooLarge).copied();
        assert_eq!(lost, (!arrives).then_some(1));
        let trimmed = if arrives { 2 } else { 0 };
        assert_eq!(recorder.events().trimmed, trimmed);
        balance(&recorder);
    }
}

/// `opentelemetry-aws` hears of the refusal with a later datagram, and stops
/// there.
#[test]
fn a_daemon_that_was_away_loses_nothing_behind_it() {
    let daemon = xray_local::Daemon::start().unwrap();
    let send = |recorder: &Recorder, names: &[&str]| {
        for name in names {
            recorder.begin_segment(name).close();
        }
    };
    for inline in [false, true] {
        daemon.clear();
        let mut builder = sends_to(daemon.address());
        if inline {
            builder = builder.send_inline();
        }
        let recorder = builder.build().unwrap();
        send(&recorder, &["before"]);
        assert!(recorder.flush(LONG).wait().is_complete());
        daemon.stop();
        send(&recorder, &["away 1", "away 2", "away 3"]);
        let waited = recorder.flush(Duration::from_millis(100)).wait();
        daemon.restart().unwrap();
        send(&recorder, &["behind 1", "behind 2"]);
        assert!(recorder.flush(LONG).wait().is_complete());
        let (expected, refused): (&[_], _) = if inline {
            // Sent where they close, these had nowhere to wait.
            assert!(waited.is_complete());
            (&["before", "behind 1", "behind 2"], Some(3))
        } else {
            assert_eq!(waited.remaining, 3);
            (
                &[
                    "before", "away 1", "away 2", "away 3", "behind 1", "behind 2",
                ],
                None,
            )
        };
        let names = accepted(&daemon, expected.len()).into_iter();
        let names: Vec<_> = names.map(|one| one.verdict.unwrap().name).collect();
        assert_eq!(names, expected, "inline: {inline}");
        let lost = recorder.documents().lost.get(&Loss::Refused).copied();
        assert_eq!(lost, refused);
        balance(&recorder);
    }
}

/// One trace with 2,000 subsegments, so many below each of its parts; the ids of
/// all its entities.
fn burst(recorder: &Recorder, below: usize) -> BTreeSet<String> {
    let segment = recorder.begin_segment("burst");
    let mut ids = BTreeSet::from([segment.id().unwrap().to_string()]);
    for _ in 0..2_000 / (below + 1) {
        let part = segment.begin_subsegment("part");
        ids.insert(part.id().unwrap().to_string());
        for _ in 0..below {
            let work = part.begin_subsegment("work");
            ids.insert(work.id().unwrap().to_string());
        }
    }
    ids
}

/// Reads what has come every ten milliseconds, until this many datagrams are
/// there or nothing comes for a while; `None` if it was held up for longer than
/// a reader with the default buffer may be.
fn read_now_and_then(daemon: &UdpSocket, enough: impl Fn(usize) -> bool) -> Option<Vec<Document>> {
    let mut documents = Vec::new();
    let mut looked = Instant::now();
    let mut came = Instant::now();
    while !enough(documents.len()) && came.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(10));
        if looked.elapsed() > Duration::from_millis(30) {
            return None;
        }
        let mut datagram = [0; 65_536];
        while let Ok(bytes) = daemon.recv(&mut datagram) {
            let json = document_of(&datagram[..bytes]).unwrap();
            documents.push(Document::from_json(json).unwrap());
            came = Instant::now();
        }
        looked = Instant::now();
    }
    Some(documents)
}

/// `opentelemetry-aws` sends a datagram for each span, without pause: of 2,000
/// the default buffer of a reader that looked away held 166.
#[test]
fn a_burst_reaches_a_reader_that_looks_away() {
    // What leaves before the segment closes is a document for each part; so is
    // each subsegment of the one part that is open just then, four times.
    for (below, most) in [(0, 2_001), (49, 41 + 4 * 49)] {
        let read = (0..50).find_map(|_| {
            let daemon = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
            daemon.set_nonblocking(true).unwrap();
            let address = daemon.local_addr().unwrap();
            let recorder = sends_to(address).build().unwrap();
            let ids = burst(&recorder, below);
            let is_all = |read| {
                let documents = recorder.documents();
                documents.queued == 0 && documents.sent == read as u64
            };
            let read = read_now_and_then(&daemon, is_all)?;
            balance(&recorder);
            assert_eq!(recorder.documents().sent, read.len() as u64);
            Some((ids, read))
        });
        let (ids, documents) = read.expect("the machine is too busy for any reader");
        let arrived = rejoin(&documents);
        assert_eq!(arrived.into_keys().collect::<BTreeSet<_>>(), ids);
        assert!(documents.len() <= most, "{} documents", documents.len());
    }
}

/// The same peer's flush says that all is well then. Of what a reader's kernel
/// drops no sender hears: `sent` is what ours took, no less and no more.
#[test]
#[cfg(target_os = "linux")]
fn what_the_kernel_drops_is_not_called_delivered() {
    let daemon = xray_local::Daemon::builder().count_only().start().unwrap();
    daemon.pause();
    let builder = sends_to(daemon.address()).document_limit(65_474);
    let recorder = builder.send_inline().build().unwrap(); // as fast as it goes
    let segment = || {
        let segment = recorder.begin_segment("large");
        segment.metadata("m", "m".repeat(60_000));
    };
    let sent: usize = 500;
    (0..sent).for_each(|_| segment());
    let dropped = daemon.kernel_drops().unwrap();
    daemon.resume();
    let received = sent - usize::try_from(dropped).unwrap();
    assert!(daemon.wait_for(received, LONG));
    assert_eq!(daemon.kernel_drops(), Some(dropped));
    assert_eq!(daemon.received_count(), received);
    assert!((1..sent as u64).contains(&dropped), "{dropped}");
    let documents = recorder.documents();
    assert_eq!((documents.sent, documents.lost.len()), (sent as u64, 0));
    assert!(!documents.to_json().contains("delivered"));
    balance(&recorder);
}

/// `opentelemetry-aws` reads no header with a blank in it and passes `Self` on;
/// `xray-lite` reads such a header, but for its parent and its decision.
#[test]
fn a_blank_in_a_header_hides_nothing_and_self_is_not_passed_on() {
    let daemon = xray_local::Daemon::start().unwrap();
    let recorder = sends_to(daemon.address()).build().unwrap();
    for value in [
        format!(
            "Root={ROOT}; Parent={PARENT}; Sampled=1; Self=1-67891233-abcdef012345678912345678"
        ),
        format!(
            "Self=1-67891233-abcdef012345678912345678 ;Root = {ROOT} ; Parent = {PARENT} ; Sampled = 1"
        ),
        format!(
            "\tRoot={ROOT};\tParent={PARENT};\tSampled=1;\tself=1-67891233-abcdef012345678912345678\t"
        ),
    ] {
        let header = TraceHeader::parse(&value);
        assert_eq!(header.root().unwrap().to_string(), ROOT, "{value}");
        assert_eq!(header.parent().unwrap().to_string(), PARENT, "{value}");
        assert_eq!(header.sampled(), Sampled::Yes, "{value}");
        assert_eq!(header.extras(), "", "{value}");
        let segment = recorder.segment("shop").header(&header).begin();
        let call = segment.begin_subsegment("stock");
        let expected = format!("Root={ROOT};Parent={};Sampled=1", call.id().unwrap());
        assert_eq!(*call.header().to_text(), expected, "{value}");
        let unsampled = value
            .replace("ampled=1", "ampled=0")
            .replace("ampled = 1", "ampled = 0");
        let unsampled = TraceHeader::parse(&unsampled);
        assert!(
            !recorder
                .segment("shop")
                .header(&unsampled)
                .begin()
                .is_recorded()
        );
    }
    for one in accepted(&daemon, 3) {
        let document = one.verdict.unwrap();
        assert_eq!(document.trace_id.as_deref(), Some(ROOT));
        assert_eq!(document.parent_id.as_deref(), Some(PARENT));
    }
    balance(&recorder);
}

/// `xray-lite` sends two datagrams for each subsegment of such a trace.
#[test]
fn what_is_not_sampled_is_not_sent() {
    for inline in [false, true] {
        let daemon = Daemon::start().unwrap();
        let mut builder = sends_to(daemon.address().unwrap()); // would sample all
        if inline {
            builder = builder.send_inline();
        }
        let recorder = builder.build().unwrap();
        let header = TraceHeader::parse(format!("Root={ROOT};Parent={PARENT};Sampled=0"));
        let segment = recorder.segment("shop").header(&header).begin();
        let call = segment.begin_subsegment("stock");
        recorder.show_open(Duration::ZERO);
        // Whoever is called is told, so as not to decide anew.
        assert_eq!(call.header().root(), header.root());
        assert_eq!(call.header().sampled(), Sampled::No);
        drop((call, segment));
        let facade = recorder.begin_facade(&header);
        facade.begin_subsegment("work").close();
        facade.close();
        assert!(recorder.flush(LONG).wait().is_complete());
        assert!(daemon.is_idle().unwrap());
        assert_eq!(recorder.documents().created, 0);
        assert_eq!(recorder.entities().unsampled, 4);
        balance(&recorder);
    }
}

/// `xray-lite` and `softprops/xray` cut at the 200th byte, and panic where a
/// character goes on there.
#[test]
fn a_long_name_is_cut_between_characters() {
    let daemon = xray_local::Daemon::start().unwrap();
    let recorder = sends_to(daemon.address()).build().unwrap();
    for character in ["a", "ä", "語", "𝔘"] {
        for before in 0..4 {
            let name = "x".repeat(before) + &character.repeat(300);
            let expected: String = name.chars().take(200).collect();
            let segment = recorder.begin_segment(&name);
            let renamed = segment.begin_subsegment("short");
            renamed.set_name(&name);
            segment.begin_subsegment(&name).close();
            let error = std::io::Error::other(name.clone());
            renamed.record_fault(&error);
            renamed.annotate(&name, name.repeat(5).as_str());
            drop((renamed, segment));
            daemon.wait_for(1, LONG);
            let document = accepted(&daemon, 1).remove(0).verdict.unwrap();
            for part in document.walk() {
                assert_eq!(part.name, expected);
            }
            assert_eq!(document.walk().count(), 3);
            daemon.clear();
        }
    }
    balance(&recorder);
}

/// `xray-lite` gives up a subsegment, and the header for whoever it calls, when
/// the datagram that shows it in progress is refused.
#[test]
fn a_refused_datagram_costs_neither_the_work_nor_its_header() {
    for inline in [false, true] {
        let address = nobody().unwrap();
        let mut builder = sends_to(address);
        if inline {
            builder = builder.send_inline();
        }
        let recorder = builder.build().unwrap();
        let segment = recorder.begin_segment("shop");
        let trace = segment.trace_id().unwrap();
        for _ in 0..2 {
            let call = segment.begin_subsegment("stock");
            recorder.show_open(Duration::ZERO);
            let flushed = recorder.flush(Duration::from_millis(50)).wait();
            assert_eq!(flushed.is_complete(), inline, "nobody takes what is shown");
            let expected = format!("Root={trace};Parent={};Sampled=1", call.id().unwrap());
            assert_eq!(*call.header().to_text(), expected);
            call.annotate("after", "the refusal");
        }
        // Inline, each is refused at once: two in progress, and the first call,
        // which was shown and has closed.
        if inline {
            assert_eq!(recorder.documents().lost[&Loss::Refused], 3);
        }
        let daemon = Daemon::at(address).unwrap();
        segment.close();
        let mut calls = 0;
        loop {
            let document = daemon.document().unwrap();
            if document.in_progress {
                continue;
            }
            let parts = document.walk().filter(|part| part.name == "stock");
            calls += parts
                .filter(|call| call.annotations["after"] == "the refusal")
                .count();
            if document.name == "shop" {
                break;
            }
        }
        assert_eq!(calls, if inline { 1 } else { 2 });
        assert!(recorder.flush(LONG).wait().is_complete());
        balance(&recorder);
    }
}

/// `softprops/xray` ends it in `\` and `n`, so that no daemon finds its end.
#[test]
fn the_line_before_a_document_ends_in_a_line_feed() {
    const LINE: [u8; 30] = [
        b'{', b'"', b'f', b'o', b'r', b'm', b'a', b't', b'"', b':', b'"', b'j', b's', b'o', b'n',
        b'"', b',', b'"', b'v', b'e', b'r', b's', b'i', b'o', b'n', b'"', b':', b'1', b'}', 0x0a,
    ];
    for inline in [false, true] {
        let daemon = Daemon::start().unwrap();
        let mut builder = sends_to(daemon.address().unwrap());
        if inline {
            builder = builder.send_inline();
        }
        let recorder = builder.build().unwrap();
        recorder.begin_segment("shop").close();
        let datagram = daemon.datagram().unwrap();
        let (line, document) = datagram.split_at(LINE.len());
        assert_eq!(line, LINE);
        assert_eq!((document[0], document[document.len() - 1]), (b'{', b'}'));
        assert!(!document.contains(&0x0a));
    }
}

/// `lambda_runtime`'s layer looks at neither the header of an invocation nor
/// what comes of its handler.
#[test]
fn invocations_go_on_with_their_own_headers_and_their_errors_are_seen() {
    let daemon = xray_local::Daemon::start().unwrap();
    let builder = sends_to(daemon.address());
    let recorder = builder.send_inline().build().unwrap();
    let roots: Vec<_> = (0..8).map(|at| format!("{}{at}", &ROOT[..34])).collect();
    // One process has several invocations at once.
    let together = Barrier::new(roots.len());
    std::thread::scope(|scope| {
        for (at, root) in roots.iter().enumerate() {
            let (recorder, together) = (&recorder, &together);
            scope.spawn(move || {
                let header = format!("Root={root};Parent={PARENT};Sampled=1;Lineage=a:{at}");
                let invocation = recorder.begin_facade(&TraceHeader::parse(&header));
                let entered = invocation.enter();
                together.wait();
                let handled = current().try_in_subsegment("handler", |handler| {
                    let downstream = handler.header().to_text().to_string();
                    assert!(downstream.starts_with(&format!("Root={root};")));
                    assert!(downstream.ends_with(&format!(";Lineage=a:{at}")));
                    together.wait();
                    if at % 2 == 0 {
                        Ok(())
                    } else {
                        Err(std::io::Error::other(format!("number {at}")))
                    }
                });
                assert_eq!(handled.is_ok(), at % 2 == 0);
                drop(entered);
            });
        }
    });
    let mut found = BTreeSet::new();
    for one in accepted(&daemon, roots.len()) {
        let document = one.verdict.unwrap();
        assert!(document.is_subsegment());
        assert_eq!(document.parent_id.as_deref(), Some(PARENT));
        let root = document.trace_id.clone().unwrap();
        let at = roots.iter().position(|one| *one == root).unwrap();
        assert_eq!(document.fault, at % 2 == 1);
        let messages = document.exceptions().iter().map(|one| one.message.clone());
        let messages: Vec<_> = messages.flatten().collect();
        let expected: Vec<_> = (at % 2 == 1)
            .then(|| format!("number {at}"))
            .into_iter()
            .collect();
        assert_eq!(messages, expected);
        found.insert(root);
    }
    assert_eq!(found.len(), roots.len());
    balance(&recorder);
}

/// `datadog-opentelemetry` wants exactly one version of `opentelemetry`, and so
/// cannot stand beside whoever wants the next one. Of our library crates
/// neither requirement names one version alone, nor is any of it in their tree,
/// that of their tests included.
#[test]
fn nothing_is_pinned_and_nothing_of_opentelemetry_is_needed() {
    const LIBRARIES: [&str; 4] = ["xray-core", "xray-macros", "xray-tower", "xray-local"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for library in LIBRARIES {
        let manifest = std::fs::read_to_string(root.join(library).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("\"="), "{library} pins a version");
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let quoted = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    let mut needs = BTreeMap::<String, Vec<String>>::new();
    for package in lock.split("[[package]]").skip(1) {
        let mut lines = package.lines();
        let name = quoted(lines.find(|line| line.starts_with("name = ")).unwrap());
        let dependencies = lines.filter(|line| line.starts_with(" \"")).map(|line| {
            let dependency = quoted(line);
            dependency.split(' ').next().unwrap().to_owned()
        });
        needs.entry(name).or_default().extend(dependencies);
    }
    let mut ahead: Vec<_> = LIBRARIES.map(str::to_owned).into();
    let mut tree = BTreeSet::new();
    while let Some(name) = ahead.pop() {
        assert!(!name.contains("opentelemetry"), "{name}");
        if tree.insert(name.clone()) {
            ahead.extend(needs[&name].iter().cloned());
        }
    }
    assert!(
        tree.contains("http") && tree.contains("serde_json"),
        "{tree:?}"
    );
}
