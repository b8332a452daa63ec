use super::*;
use proptest::prelude::*;

const ROOT: &str = "1-66f2a1c0-0123456789abcdef01234567";
const TRACEPARENT: &[u8] = b"00-66f2a1c00123456789abcdef01234567-53995c3f42cd8ad8-01";

fn root() -> TraceId {
    ROOT.parse().unwrap()
}

fn parent() -> SegmentId {
    "53995c3f42cd8ad8".parse().unwrap()
}

fn w3c(traceparent: &[u8]) -> TraceHeader {
    TraceHeader::from_headers(None, Some(traceparent), None)
}

/// Pairs near the grammar, so that random headers reach every branch.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ \t]{0,2}([Rr]oot|ROOT)[ \t]?=[ ]?1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24}[ ]?",
        "[ \t]{0,2}([Pp]arent|PARENT)[ \t]?=[ ]?[0-9a-fA-F]{16}[ ]?",
        "[ \t]{0,2}([Ss]ampled|SAMPLED)=[01?2]?",
        "[ ]?([Ll]ineage|Self)=[0-9a-f:|,]{0,280}",
        "[A-Za-z, ]{0,5}=[!-~ \u{e9}\r\n]{0,90}",
        "[;,= ]{0,3}",
    ]
}

fn check_written(header: &TraceHeader) -> Result<(), TestCaseError> {
    let text = header.to_text();
    prop_assert!(text.len() <= HeaderText::MAX_LEN);
    prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    prop_assert!(text.is_empty() || text.split(';').all(|pair| pair.contains('=')));
    let again = TraceHeader::parse(&*text);
    prop_assert_eq!(again.root(), header.root());
    prop_assert_eq!(again.parent(), header.parent());
    prop_assert_eq!(again.sampled(), header.sampled());
    prop_assert_eq!(again.extras(), header.extras());
    prop_assert_eq!(header.to_string(), &*text);
    let line = header.to_line().map(|line| line.to_string());
    prop_assert_eq!(line, header.root().map(|_| text.to_string()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_and_written_again(value in prop::collection::vec(any::<u8>(), 0..1500)) {
        let header = TraceHeader::parse(&value);
        prop_assert_eq!(TraceHeader::parse(&*header.to_text()), header.clone());
        check_written(&header)?;
    }

    #[test]
    fn near_headers_are_read_and_written_again(pieces in prop::collection::vec(piece(), 0..24)) {
        let header = TraceHeader::parse(pieces.join(";"));
        prop_assert_eq!(TraceHeader::parse(&*header.to_text()), header.clone());
        check_written(&header)?;
        // Every child of the trace, too: it adds up to three pairs.
        let child = TraceHeader::from_carried(root(), Some(parent()), Sampled::Yes, header.carried());
        prop_assert_eq!(child.extras(), header.extras());
        prop_assert_eq!(TraceHeader::parse(&*child.to_text()), child);
    }

    #[test]
    fn any_w3c_headers_are_read(
        amzn in prop::collection::vec(any::<u8>(), 0..80),
        traceparent in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "[0f][0-9a-f]-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,9})?".prop_map(String::into_bytes),
        ],
        tracestate in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let header = TraceHeader::from_headers(Some(&amzn), Some(&traceparent), Some(&tracestate));
        check_written(&header)?;
        prop_assert_eq!(header.traceparent().is_some(), header.parent().is_some());
        prop_assert!(header.tracestate().is_none() || header.is_w3c());
    }

    #[test]
    fn a_written_traceparent_reads_back(bits in 1u128.., id in 1u64.., yes: bool) {
        let sampled = if yes { Sampled::Yes } else { Sampled::No };
        let header = TraceHeader::new(TraceId::from_w3c(bits).unwrap())
            .with_parent(SegmentId::new(id))
            .with_sampled(sampled);
        let text = header.traceparent().unwrap();
        prop_assert_eq!(&*text, format!("00-{bits:032x}-{id:016x}-{:02x}", u8::from(yes)));
        let again = w3c(text.as_bytes());
        prop_assert!(again.is_w3c());
        prop_assert_eq!(again.to_string(), header.to_string());
    }
}

#[test]
fn only_what_is_known_is_written() {
    assert_eq!(&*TraceHeader::default().to_text(), "");
    assert_eq!(TraceHeader::new(root()).to_string(), format!("Root={ROOT}"));
    let unknown = TraceHeader::default().with_sampled(Sampled::No);
    assert_eq!(unknown.to_string(), "Sampled=0");
    assert_eq!(unknown.traceparent(), None);
    assert_eq!(TraceHeader::new(root()).traceparent(), None);
}

#[test]
fn a_parent_needs_a_root() {
    let header = TraceHeader::default().with_parent(Some(parent()));
    assert_eq!(header.parent(), None);
    let header = TraceHeader::new(root()).with_parent(Some(parent()));
    assert_eq!(header.parent(), Some(parent()));
    assert_eq!(header.with_parent(None).parent(), None);
}

#[test]
fn the_largest_header_fits() {
    let extras = format!("Lineage={};a={}", "x".repeat(120), "y".repeat(125));
    let text = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=?;{extras}");
    assert_eq!(text.len(), HeaderText::MAX_LEN);
    assert_eq!(TraceHeader::parse(&text).to_string(), text);
    assert_eq!(HeaderText::MAX_LEN, 331);
}

#[test]
fn a_usual_header_carries_nothing() {
    let text = format!("Root={ROOT};Self=1-0-0;Parent=53995c3f42cd8ad8;Sampled=1;bad;;x=");
    assert!(TraceHeader::parse(text).carried().is_none());
}

#[test]
fn a_flag_is_only_written_for_yes() {
    let header = TraceHeader::new(root()).with_parent(Some(parent()));
    for (sampled, flag) in [
        (Sampled::Yes, "01"),
        (Sampled::No, "00"),
        (Sampled::Requested, "00"),
        (Sampled::Unknown, "00"),
    ] {
        let text = header.clone().with_sampled(sampled).traceparent().unwrap();
        assert_eq!(&text[53..], flag);
        assert_eq!(text.to_string(), *text);
    }
}

#[test]
fn the_xray_header_comes_first() {
    let amzn = b"Root=1-00000001-000000000000000000000002;Sampled=0".as_slice();
    let header = TraceHeader::from_headers(Some(amzn), Some(TRACEPARENT), Some(b"a=b"));
    assert_eq!(header, TraceHeader::parse(amzn));
    assert!(!header.is_w3c());
    assert_eq!(header.tracestate(), None);
}

/// A load balancer adds a lone Root, in front of which somebody traces already.
#[test]
fn a_lone_root_yields_to_a_traceparent() {
    let lone = "Root=1-00000001-000000000000000000000002";
    for (amzn, yields) in [
        (lone.to_owned(), true),
        (format!("{lone};Lineage=a:1"), true),
        (format!("Self=1-0-0;{lone};Sampled=2;Parent=0"), true),
        (format!("{lone};Parent=00000000000000ff"), false),
        (format!("{lone};Sampled=1"), false),
        (format!("{lone};Sampled=?"), false),
    ] {
        let own = TraceHeader::parse(&amzn);
        let amzn = Some(amzn.as_bytes());
        let header = TraceHeader::from_headers(amzn, Some(TRACEPARENT), Some(b"a=b"));
        if yields {
            let expected = w3c(TRACEPARENT).to_string();
            let extras = Some(own.extras()).filter(|extras| !extras.is_empty());
            let expected = [Some(&*expected), extras].into_iter().flatten();
            let expected: Vec<&str> = expected.collect();
            assert_eq!(header.to_string(), expected.join(";"));
            assert_eq!(header.tracestate(), Some("a=b"));
            assert!(header.is_w3c());
        } else {
            assert_eq!(header, own);
        }
        // A broken traceparent leaves the Root in place.
        for broken in [None, Some(&TRACEPARENT[..54])] {
            assert_eq!(TraceHeader::from_headers(amzn, broken, None), own);
        }
    }
}

#[test]
fn traceparent_stands_in_for_a_root() {
    for amzn in [
        None,
        Some(""),
        Some("Root=1-bad"),
        Some("Parent=00000000000000ff"),
    ] {
        let amzn = amzn.map(str::as_bytes);
        let header = TraceHeader::from_headers(amzn, Some(TRACEPARENT), Some(b" a=b,c=d\t"));
        assert_eq!(header.root(), Some(root()));
        assert_eq!(header.parent(), Some(parent()));
        assert_eq!(header.sampled(), Sampled::Yes);
        assert_eq!(header.tracestate(), Some("a=b,c=d"));
        assert!(header.is_w3c());
    }
    // What the X-Ray header has besides a root still counts.
    let amzn = b"Sampled=0;Lineage=a87bd80c:1".as_slice();
    let header = TraceHeader::from_headers(Some(amzn), Some(TRACEPARENT), None);
    assert_eq!(header.sampled(), Sampled::No);
    assert_eq!(header.extras(), "Lineage=a87bd80c:1");
    let amzn = b"Sampled=?".as_slice();
    let header = TraceHeader::from_headers(Some(amzn), Some(TRACEPARENT), None);
    assert_eq!(header.sampled(), Sampled::Requested);
}

#[test]
fn tracestate_is_kept_whole_or_not_at_all() {
    let kept = |value: &[u8]| {
        let header = TraceHeader::from_headers(None, Some(TRACEPARENT), Some(value));
        header.tracestate().map(str::to_owned)
    };
    assert_eq!(kept(b"a=b,\tc=d e"), Some("a=b,\tc=d e".to_owned()));
    assert_eq!(kept(&[b'x'; 512]), Some("x".repeat(512)));
    assert_eq!(kept(&[b'x'; 513]), None);
    for bad in [
        b"".as_slice(),
        b" \t",
        b"a=b\r\nx: y",
        b"a=\0",
        b"a=\x7f",
        b"a=\xc3\xa9",
    ] {
        assert_eq!(kept(bad), None, "{bad:?}");
    }
    let alone = TraceHeader::from_headers(None, None, Some(b"a=b"));
    assert_eq!(alone, TraceHeader::default());
    let spoilt = TraceHeader::from_headers(None, Some(b"00-"), Some(b"a=b"));
    assert_eq!(spoilt, TraceHeader::default());
}

/// After the cases of the W3C test suite for traceparent
/// (`test/test_traceparent` of the w3c/trace-context repository).
#[test]
fn traceparent_is_read_strictly() {
    let ids = "66f2a1c00123456789abcdef01234567-53995c3f42cd8ad8";
    for (good, sampled) in [
        (format!("00-{ids}-00"), Sampled::No),
        (format!("00-{ids}-01"), Sampled::Yes),
        (format!("00-{ids}-02"), Sampled::No),
        (format!("00-{ids}-03"), Sampled::Yes),
        (format!("00-{ids}-ff"), Sampled::Yes),
        (format!(" \t00-{ids}-01\t "), Sampled::Yes),
        (format!("01-{ids}-01"), Sampled::Yes),
        (format!("cc-{ids}-01"), Sampled::Yes),
        (format!("cc-{ids}-01-"), Sampled::Yes),
        (format!("cc-{ids}-01-what-the-future-brings"), Sampled::Yes),
        (format!("fe-{ids}-00"), Sampled::No),
    ] {
        let header = w3c(good.as_bytes());
        assert_eq!(header.root(), Some(root()), "{good}");
        assert_eq!(header.parent(), Some(parent()), "{good}");
        assert_eq!(header.sampled(), sampled, "{good}");
    }
    for bad in [
        String::new(),
        "00".to_owned(),
        format!("00-{ids}-0"),
        format!("00-{ids}-011"),
        format!("00-{ids}-01-"),
        format!("00-{ids}-01-what"),
        format!("00-{ids}-01."),
        format!("00-{ids}-.1"),
        format!("00-{ids}-0X"),
        format!("00-{ids}-0A"),
        format!("00-{ids} -1"),
        format!("cc-{ids}-01.what"),
        format!("cc-{ids}-01x"),
        format!("ff-{ids}-01"),
        format!("FF-{ids}-01"),
        format!("CC-{ids}-01"),
        format!("0-{ids}-01"),
        format!(".0-{ids}-01"),
        format!("0x-{ids}-01"),
        format!("00-{}-01", ids.to_uppercase()),
        format!("00_{ids}_01"),
        "00-00000000000000000000000000000000-53995c3f42cd8ad8-01".to_owned(),
        "00-66f2a1c00123456789abcdef01234567-0000000000000000-01".to_owned(),
        "00-66f2a1c00123456789abcdef0123456g-53995c3f42cd8ad8-01".to_owned(),
        "00-66f2a1c00123456789abcdef01234567-53995c3f42cd8adg-01".to_owned(),
        "00-66f2a1c00123456789abcdef0123456-53995c3f42cd8ad8-01".to_owned(),
        "00-66f2a1c00123456789abcdef01234567-53995c3f42cd8ad-01".to_owned(),
        "00-66f2a1c00123456789abcdef01234567053995c3f42cd8ad8-01".to_owned(),
        "00-66f2a1c00123456789abcdef01234567-53995c3f42cd8ad8001".to_owned(),
        "00-66f2a1c00123456789abcdef0123456\u{e9}-53995c3f42cd8ad8-01".to_owned(),
    ] {
        assert_eq!(w3c(bad.as_bytes()), TraceHeader::default(), "{bad}");
    }
    let longest = format!("cc-{ids}-01-{}", "x".repeat(1024 - 56));
    assert!(w3c(longest.as_bytes()).is_w3c());
    assert!(!w3c(format!("{longest}x").as_bytes()).is_w3c());
}
