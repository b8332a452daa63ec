use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// Never granted by a rate below 1.
const UNLUCKY: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Request {
    host: Option<&'static str>,
    method: Option<&'static str>,
    path: Option<&'static str>,
    reads: Cell<[usize; 3]>,
}

impl Request {
    fn new(host: &'static str, method: &'static str, path: &'static str) -> Self {
        Self {
            host: Some(host),
            method: Some(method),
            path: Some(path),
            ..Self::default()
        }
    }

    fn read(&self, fact: usize) {
        let mut reads = self.reads.get();
        reads[fact] += 1;
        self.reads.set(reads);
    }
}

impl RequestFacts for Request {
    fn host(&self) -> Option<&str> {
        self.read(0);
        self.host
    }

    fn method(&self) -> Option<&str> {
        self.read(1);
        self.method
    }

    fn path(&self) -> Option<&str> {
        self.read(2);
        self.path
    }
}

fn question(facts: &dyn RequestFacts, now: SystemTime, random: u64) -> SamplingRequest<'_> {
    SamplingRequest {
        service: "shop",
        service_type: None,
        trace_id: None,
        facts,
        now,
        random,
    }
}

fn sampled(sampler: &impl Sampler, facts: &dyn RequestFacts) -> bool {
    let decision = sampler.decide(&question(facts, NOW, UNLUCKY));
    assert_eq!(decision.record, decision.sampled);
    assert_eq!(decision.rule, None);
    decision.sampled
}

/// Rules that sample all or nothing, so that one request tells which decided.
fn all(rule: Rule) -> Rule {
    rule.rate(1.0)
}

fn none(rule: Rule) -> Rule {
    rule.rate(0.0)
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = LocalRules::new(0, 0.0)
        .rule(none(Rule::new().path("/api/health")))
        .rule(all(Rule::new().path("/api/*")))
        .rule(none(Rule::new().host("*.internal")))
        .rule(all(Rule::new().method("post")));
    for (host, method, path, expected) in [
        ("shop.example", "GET", "/api/health", false),
        ("shop.example", "POST", "/API/HEALTH", false),
        ("shop.example", "GET", "/api/orders", true),
        ("shop.internal", "GET", "/api/orders", true),
        ("shop.internal", "POST", "/orders", false),
        ("shop.example", "POST", "/orders", true),
        ("shop.example", "GET", "/orders", false),
    ] {
        let request = Request::new(host, method, path);
        assert_eq!(sampled(&rules, &request), expected, "{request:?}");
    }
}

#[test]
fn all_that_a_rule_names_must_match() {
    let rule = Rule::new().host("*.example").method("POST").path("/api/*");
    let rules = LocalRules::new(0, 0.0).rule(all(rule));
    for (host, method, path, expected) in [
        ("shop.example", "POST", "/api/", true),
        ("shop.test", "POST", "/api/", false),
        ("shop.example", "PUT", "/api/", false),
        ("shop.example", "POST", "/", false),
    ] {
        let request = Request::new(host, method, path);
        assert_eq!(sampled(&rules, &request), expected, "{request:?}");
    }
}

#[test]
fn what_is_absent_matches() {
    let rule = Rule::new().host("*.example").method("POST").path("/api/*");
    let rules = LocalRules::new(0, 0.0).rule(all(rule));
    assert!(sampled(&rules, &()));
    let mut request = Request {
        method: Some("POST"),
        ..Request::default()
    };
    assert!(sampled(&rules, &request));
    request.method = Some("GET");
    assert!(!sampled(&rules, &request));
}

#[test]
fn what_is_absent_may_be_read_as_empty() {
    for (path, expected) in [
        ("*", true),
        ("", true),
        ("/*", false),
        ("?", false),
        ("*?", false),
    ] {
        let rules = LocalRules::new(0, 0.0).rule(all(Rule::new().path(path)));
        let rules = rules.absent_as_empty();
        assert_eq!(sampled(&rules, &()), expected, "{path:?}");
    }
    // For rules added before and after alike.
    let rules = LocalRules::new(0, 0.0)
        .rule(all(Rule::new().host("a*")))
        .absent_as_empty()
        .rule(all(Rule::new().method("a*")));
    assert!(!sampled(&rules, &()));
}

#[test]
fn facts_are_read_once_and_only_when_asked_for() {
    let request = Request::new("shop.example", "GET", "/orders");
    sampled(&LocalRules::default().rule(Rule::new()), &request);
    assert_eq!(request.reads.get(), [0, 0, 0]);
    let mut rules = LocalRules::default();
    for _ in 0..9 {
        rules = rules.rule(Rule::new().method("GET").path("/api/*"));
    }
    sampled(&rules, &request);
    assert_eq!(request.reads.get(), [0, 0, 1], "no path begins so");
    request.reads.set([0; 3]);
    let rules = rules.rule(Rule::new().method("POST").path("/o*"));
    sampled(&rules, &request);
    assert_eq!(request.reads.get(), [0, 1, 1]);
    request.reads.set([0; 3]);
    let rules = rules.rule(Rule::new().host("other.example").path("/orders"));
    sampled(&rules, &request);
    assert_eq!(request.reads.get(), [1, 1, 1]);
    // Absent is an answer, too.
    let request = Request::default();
    sampled(&rules.absent_as_empty(), &request);
    assert_eq!(request.reads.get(), [0, 0, 1]);
}

#[test]
fn each_rule_has_a_reservoir_of_its_own() {
    let rules = LocalRules::new(1, 0.0)
        .rule(Rule::new().path("/a").fixed_target(2))
        .rule(Rule::new().path("/b").fixed_target(3));
    let of = |path| {
        let request = Request::new("shop.example", "GET", path);
        (0..9).filter(|_| sampled(&rules, &request)).count()
    };
    assert_eq!([of("/a"), of("/b"), of("/c"), of("/a")], [2, 3, 1, 0]);
}

#[test]
fn the_share_comes_after_the_reservoir() {
    let rules = LocalRules::new(2, 0.5);
    let ask = |now, random| rules.decide(&question(&(), now, random)).sampled;
    let (lucky, unlucky) = ((1 << 63) - 1, 1 << 63);
    assert!(ask(NOW, unlucky));
    assert!(ask(NOW, lucky));
    assert!(!ask(NOW, unlucky));
    assert!(ask(NOW, lucky));
    assert!(ask(NOW + Duration::from_secs(1), unlucky));
}

#[test]
fn the_built_in_default_is_one_a_second_then_five_percent() {
    let edge = (0.05 * (1u64 << 53) as f64) as u64;
    let document = r#"{"version": 2, "default": {"fixed_target": 1, "rate": 0.05}}"#;
    for rules in [
        LocalRules::default(),
        LocalRules::from_json(document).unwrap(),
    ] {
        let ask = |random| rules.decide(&question(&(), NOW, random)).sampled;
        assert!(ask(UNLUCKY));
        assert!(ask((edge - 1) << 11));
        assert!(!ask((edge + 1) << 11));
    }
}

/// T-81.
#[test]
fn rates_hold_within_three_sigma() {
    let draws = if cfg!(debug_assertions) { 1e6 } else { 1e7 };
    let mut generator = StdRng::seed_from_u64(81);
    for rate in [0.0, 0.001, 0.05, 0.5, 0.999, 1.0] {
        let rules = LocalRules::new(0, rate);
        let ratio = Ratio::new(rate);
        let mut hits = 0.0;
        for _ in 0..draws as u32 {
            let question = question(&(), NOW, generator.next_u64());
            let sampled = rules.decide(&question).sampled;
            assert_eq!(ratio.decide(&question).sampled, sampled);
            hits += f64::from(u8::from(sampled));
        }
        let sigma = (draws * rate * (1.0 - rate)).sqrt();
        let off = (hits - draws * rate).abs();
        assert!(off <= 3.0 * sigma, "{rate}: {hits} of {draws}");
    }
}

#[test]
fn shares_out_of_range_are_all_or_nothing() {
    for (share, expected) in [
        (f64::NAN, [false, false]),
        (f64::NEG_INFINITY, [false, false]),
        (-0.1, [false, false]),
        (0.0, [false, false]),
        (1.0, [true, true]),
        (1.1, [true, true]),
        (f64::INFINITY, [true, true]),
    ] {
        let ratio = Ratio::new(share);
        let rules = LocalRules::new(0, 0.5).rule(Rule::new().rate(share));
        let ask = |random| {
            let question = question(&(), NOW, random);
            let sampled = ratio.decide(&question).sampled;
            assert_eq!(rules.decide(&question).sampled, sampled);
            sampled
        };
        assert_eq!([0, u64::MAX].map(ask), expected, "{share}");
    }
}

const VERSION_1: &str = r#"{
    "version": 1,
    "default": { "fixed_target": 0, "rate": 0 },
    "rules": [
        { "service_name": "*.example", "http_method": "POST", "url_path": "/*", "fixed_target": 2, "rate": 0 },
        { "description": "all", "service_name": "*", "http_method": "G?T", "url_path": "/a", "fixed_target": 0, "rate": 1.0 }
    ]
}"#;

#[test]
fn both_versions_of_json_say_the_same() {
    let version_2 = VERSION_1.replace("\"version\": 1", "\"version\": 2");
    let version_2 = version_2.replace("service_name", "host");
    for text in [VERSION_1, &version_2] {
        let rules = LocalRules::from_json(text).unwrap();
        let of = |host, method, path| {
            let request = Request::new(host, method, path);
            (0..9).filter(|_| sampled(&rules, &request)).count()
        };
        assert_eq!(of("shop.example", "POST", "/a"), 2);
        assert_eq!(of("shop.test", "POST", "/a"), 0);
        assert_eq!(of("shop.test", "GET", "/a"), 9);
        assert_eq!(of("shop.test", "GET", "/"), 0);
    }
}

#[test]
fn unknown_attributes_and_null_are_skipped() {
    let rules = LocalRules::from_json(
        r#"{ "version": 2, "comment": {}, "rules": null, "default": {
            "fixed_target": 0, "rate": 1, "host": null, "service_name": null, "owner": "me" } }"#,
    );
    assert!(sampled(&rules.unwrap(), &()));
    let rules = LocalRules::from_json(
        r#"{ "version": 2, "default": { "fixed_target": 0, "rate": 0 }, "rules": [
            { "description": null, "service_name": null, "priority": 7, "host": "*",
              "http_method": "*", "url_path": "", "fixed_target": 0, "rate": 1 } ] }"#,
    );
    assert!(sampled(&rules.unwrap().absent_as_empty(), &()));
}

fn error(text: &str) -> String {
    LocalRules::from_json(text).unwrap_err().to_string()
}

/// A document whose second rule has these attributes changed.
fn second_rule(version: u8, changes: &[(&str, &str)]) -> String {
    let host = if version == 1 { "service_name" } else { "host" };
    let rule = [
        ("description", r#""checkout""#),
        (host, r#""*""#),
        ("http_method", r#""*""#),
        ("url_path", r#""*""#),
        ("fixed_target", "1"),
        ("rate", "0.1"),
    ];
    let object = |changes: &[(&str, &str)]| {
        let kept = rule.iter().filter(|(key, _)| {
            let changed = changes.iter().any(|(change, _)| change == key);
            !changed
        });
        let pairs = kept.chain(changes);
        let pairs = pairs.filter(|(_, value)| !value.is_empty());
        let pairs: Vec<String> = pairs
            .map(|(key, value)| format!("\"{key}\": {value}"))
            .collect();
        format!("{{{}}}", pairs.join(", "))
    };
    format!(
        r#"{{"version": {version}, "default": {{"fixed_target": 1, "rate": 0.05}}, "rules": [{}, {}]}}"#,
        object(&[]),
        object(changes)
    )
}

#[test]
fn errors_name_the_rule_the_attribute_and_what_was_found() {
    assert!(LocalRules::from_json(&second_rule(1, &[])).is_ok());
    assert!(LocalRules::from_json(&second_rule(2, &[("description", "")])).is_ok());
    let whole = "a whole number from 0 to 4294967295";
    for (key, value, problem) in [
        ("rate", "1.5", "is 1.5, must be a number from 0 to 1"),
        ("rate", "-0.1", "is -0.1, must be a number from 0 to 1"),
        (
            "rate",
            "\"5%\"",
            "is the text \"5%\", must be a number from 0 to 1",
        ),
        ("rate", "true", "is true, must be a number from 0 to 1"),
        ("rate", "", "is missing"),
        ("rate", "null", "is missing"),
        (
            "fixed_target",
            "-1",
            &format!("is -1, must be {whole}") as &str,
        ),
        ("fixed_target", "1.5", &format!("is 1.5, must be {whole}")),
        ("fixed_target", "1.0", &format!("is 1.0, must be {whole}")),
        (
            "fixed_target",
            "4294967296",
            &format!("is 4294967296, must be {whole}"),
        ),
        (
            "fixed_target",
            "\"1\"",
            &format!("is the text \"1\", must be {whole}"),
        ),
        ("fixed_target", "", "is missing"),
        ("host", "", "is missing"),
        ("host", "[\"*\"]", "is a list, must be text"),
        ("http_method", "", "is missing"),
        ("http_method", "{}", "is an object, must be text"),
        ("url_path", "", "is missing"),
        ("url_path", "0", "is 0, must be text"),
        (
            "service_name",
            "\"*\"",
            "belongs to version 1, this version says \"host\"",
        ),
    ] {
        let expected = format!("rule 2 (\"checkout\"): \"{key}\" {problem}");
        assert_eq!(error(&second_rule(2, &[(key, value)])), expected);
    }
    assert_eq!(
        error(&second_rule(1, &[("host", "\"*\"")])),
        "rule 2 (\"checkout\"): \"host\" belongs to version 2, this version says \"service_name\""
    );
    assert_eq!(
        error(&second_rule(1, &[("service_name", "")])),
        "rule 2 (\"checkout\"): \"service_name\" is missing"
    );
    assert_eq!(
        error(&second_rule(2, &[("description", ""), ("rate", "2")])),
        "rule 2: \"rate\" is 2, must be a number from 0 to 1"
    );
    assert_eq!(
        error(&second_rule(2, &[("description", "7")])),
        "rule 2: \"description\" is 7, must be text"
    );
    let long = format!("\"\\u001b\\n{}\"", "\u{e9}".repeat(1_000));
    assert_eq!(
        error(&second_rule(2, &[("description", &long), ("rate", "2")])),
        format!(
            "rule 2 (\"\\u{{1b}}\\n{}\"…): \"rate\" is 2, must be a number from 0 to 1",
            "\u{e9}".repeat(58)
        )
    );
}

#[test]
fn errors_of_the_whole_and_of_the_default() {
    let default = r#""default": {"fixed_target": 1, "rate": 0.05}"#;
    for (text, expected) in [
        ("[]", "is a list, must be an object"),
        ("7", "is 7, must be an object"),
        ("{}", "\"version\" is missing"),
        (
            &format!(r#"{{"version": 3, {default}}}"#) as &str,
            "\"version\" is 3, must be 1 or 2",
        ),
        (
            &format!(r#"{{"version": "2", {default}}}"#),
            "\"version\" is the text \"2\", must be 1 or 2",
        ),
        (
            &format!(r#"{{"version": 1.5, {default}}}"#),
            "\"version\" is 1.5, must be 1 or 2",
        ),
        (r#"{"version": 2, "rules": []}"#, "\"default\" is missing"),
        (
            r#"{"version": 2, "default": 1}"#,
            "default: is 1, must be an object",
        ),
        (
            r#"{"version": 2, "default": {"rate": 1}}"#,
            "default: \"fixed_target\" is missing",
        ),
        (
            r#"{"version": 2, "default": {"fixed_target": 1}}"#,
            "default: \"rate\" is missing",
        ),
        (
            r#"{"version": 2, "default": {"fixed_target": 1, "rate": 1.01}}"#,
            "default: \"rate\" is 1.01, must be a number from 0 to 1",
        ),
        (
            &format!(r#"{{"version": 2, {default}, "rules": {{}}}}"#),
            "\"rules\" is an object, must be a list",
        ),
        (
            &format!(r#"{{"version": 2, {default}, "rules": ["x"]}}"#),
            "rule 1: is the text \"x\", must be an object",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    for version in [1, 2] {
        for key in ["host", "service_name", "http_method", "url_path"] {
            let text = format!(
                r#"{{"version": {version}, "default": {{"fixed_target": 1, "rate": 0, "{key}": "*"}}}}"#
            );
            let expected = format!("default: \"{key}\" has no place here, it is for all");
            assert_eq!(error(&text), expected);
        }
    }
}

#[test]
fn what_is_no_json_says_where() {
    let text = "{\n  \"version\": 2,\n}";
    let error = LocalRules::from_json(text).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("line 3 column 1"), "{source}");
    assert_eq!(error.to_string(), format!("no JSON: {source}"));
    for text in ["", "{", "NaN", "\u{feff}\u{feff}{}", "{\"version\": 1e999}"] {
        let error = LocalRules::from_json(text).unwrap_err().to_string();
        assert!(error.starts_with("no JSON: "), "{error}");
    }
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let text = r#"{"version":2,"default":{"fixed_target":0,"rate":0.05}}"#;
    let marked = LocalRules::from_json(&format!("\u{feff}{text}")).unwrap();
    let plain = LocalRules::from_json(text).unwrap();
    assert_eq!(format!("{marked:?}"), format!("{plain:?}"));
}

#[test]
fn deep_and_huge_json_is_an_error_or_read() {
    let deep = "[".repeat(1 << 20);
    assert!(error(&deep).starts_with("no JSON: recursion limit"));
    let text = second_rule(2, &[("rate", &format!("[{}0]", "0,".repeat(1 << 18)))]);
    let expected = "rule 2 (\"checkout\"): \"rate\" is a list, must be a number from 0 to 1";
    assert_eq!(error(&text), expected);
    let path = format!("\"{}\"", "*a".repeat(1 << 16));
    assert!(LocalRules::from_json(&second_rule(2, &[("url_path", &path)])).is_ok());
}

fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[ -~]{0,8}".prop_map(|text| format!("{text:?}")),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        prop::sample::select(&["null", "true", "1", "2", "0.5", "\"*\"", "\"\\u0000\""][..])
            .prop_map(str::to_owned),
    ];
    let key = prop::sample::select(
        &[
            "version",
            "default",
            "rules",
            "description",
            "host",
            "service_name",
            "http_method",
            "url_path",
            "fixed_target",
            "rate",
        ][..],
    );
    leaf.prop_recursive(4, 64, 10, move |inner| {
        let pair =
            (key.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec(pair, 0..10).prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
        ]
    })
}

/// One attribute of a rule, right or wrong.
fn near_value() -> impl Strategy<Value = (&'static str, String)> {
    let key = prop::sample::select(
        &[
            "description",
            "host",
            "service_name",
            "http_method",
            "url_path",
            "fixed_target",
            "rate",
        ][..],
    );
    (key, any_json())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn any_bytes_are_an_error_or_rules(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = LocalRules::from_json(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_json_is_an_error_or_rules(text in any_json()) {
        if let Err(error) = LocalRules::from_json(&text) {
            prop_assert!(error.to_string().chars().count() < 200);
        }
    }

    #[test]
    fn near_rules_are_an_error_or_rules(
        changes in prop::collection::vec(near_value(), 0..4),
        version in 1u8..=2,
        random: u64,
    ) {
        let changes: Vec<(&str, &str)> =
            changes.iter().map(|(key, value)| (*key, value.as_str())).collect();
        match LocalRules::from_json(&second_rule(version, &changes)) {
            Ok(rules) => {
                let request = Request::new("shop.example", "GET", "/\u{130}/\u{1f980}");
                rules.decide(&question(&request, NOW, random));
            }
            Err(error) => {
                let error = error.to_string();
                prop_assert!(error.chars().count() < 200);
                prop_assert!(!error.contains(char::is_control));
            }
        }
    }
}
