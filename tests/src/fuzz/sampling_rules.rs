//! Local sampling rules as JSON.

use serde_json::{Map, Value};
use xray_core::test_util::TestRecorder;
use xray_core::{LocalRules, RequestFacts};

use super::wildcard::matches;

/// Any text is a document of rules by the documented form, and then decides as
/// it says; or an error of one short and harmless line.
pub fn sampling_rules_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return; // `from_json` takes text
    };
    let document: Option<Value> =
        serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).ok();
    let document = document.filter(is_valid);
    let rules = match LocalRules::from_json(text) {
        Ok(rules) => rules,
        Err(error) => {
            assert!(document.is_none(), "{error}");
            let told = error.to_string();
            assert!(told.len() < 1_000, "{told}");
            assert!(!told.chars().any(char::is_control), "{told:?}");
            return;
        }
    };
    assert!(document.is_some(), "{rules:?}");
    let Some(document) = document else {
        return;
    };
    let recorder = TestRecorder::configured("fuzz", |builder| builder.sampler(rules));
    for request in &REQUESTS {
        let [fixed_target, rate] = decider(&document, request);
        let sampled = recorder
            .segment("fuzz")
            .request(request)
            .begin()
            .is_sampled();
        if rate >= 1.0 {
            assert!(sampled, "{request:?}");
        } else if fixed_target == 0.0 && rate == 0.0 {
            assert!(!sampled, "{request:?}");
        }
    }
}

/// Host, method and path.
#[derive(Debug)]
struct Request([&'static str; 3]);

const REQUESTS: [Request; 3] = [
    Request(["shop.example", "GET", "/"]),
    Request(["eu.shop.example:8080", "POST", "/orders/7"]),
    Request(["", "", ""]),
];

impl RequestFacts for Request {
    fn host(&self) -> Option<&str> {
        Some(self.0[0])
    }

    fn method(&self) -> Option<&str> {
        Some(self.0[1])
    }

    fn path(&self) -> Option<&str> {
        Some(self.0[2])
    }
}

type Object = Map<String, Value>;

fn get<'a>(object: &'a Object, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn host_key(document: &Object) -> Option<[&'static str; 2]> {
    match get(document, "version")?.as_u64()? {
        1 => Some(["service_name", "host"]),
        2 => Some(["host", "service_name"]),
        _ => None,
    }
}

/// Whether the documentation of [`LocalRules::from_json`] allows it.
fn is_valid(document: &Value) -> bool {
    let check = || {
        let document = document.as_object()?;
        let [host, other] = host_key(document)?;
        let default = get(document, "default")?.as_object()?;
        let patterns = ["host", "service_name", "http_method", "url_path"];
        if patterns.iter().any(|key| get(default, key).is_some()) {
            return None;
        }
        numbers(default)?;
        for rule in rules(document)? {
            let rule = rule.as_object()?;
            for key in [host, "http_method", "url_path"] {
                get(rule, key)?.as_str()?;
            }
            if get(rule, other).is_some() {
                return None;
            }
            get(rule, "description").map_or(Some(""), Value::as_str)?;
            numbers(rule)?;
        }
        Some(())
    };
    check().is_some()
}

fn rules(document: &Object) -> Option<&[Value]> {
    match get(document, "rules") {
        None => Some(&[]),
        Some(rules) => rules.as_array().map(Vec::as_slice),
    }
}

/// Fixed target and rate.
fn numbers(object: &Object) -> Option<[f64; 2]> {
    let target = u32::try_from(get(object, "fixed_target")?.as_u64()?).ok()?;
    let rate = get(object, "rate")?.as_f64()?;
    (0.0..=1.0)
        .contains(&rate)
        .then_some([f64::from(target), rate])
}

/// The numbers of the rule that decides about a request.
fn decider(document: &Value, request: &Request) -> [f64; 2] {
    let find = || {
        let document = document.as_object()?;
        let [host, _] = host_key(document)?;
        let rule = rules(document)?.iter().find(|rule| {
            let keys = [host, "http_method", "url_path"].into_iter();
            let facts = request.0.iter();
            keys.zip(facts).all(|(key, fact)| {
                let pattern = rule.get(key).and_then(Value::as_str);
                matches(pattern.unwrap_or_default(), fact)
            })
        });
        numbers(rule.unwrap_or(document.get("default")?).as_object()?)
    };
    find().unwrap_or([1.0, 0.5]) // nothing is expected of that
}
