//! The members of `aws` and `service` whose type readers know: a document that
//! holds another one is dropped whole.

use serde_json::{Map, Value};

use super::json::harmless;

/// The type of a member.
enum Shape {
    Text,
    Integer,
    Flag,
    Texts,
    Object(Members),
    Objects(Members),
}

type Members = &'static [(&'static str, Shape)];
use Shape::{Flag, Integer, Object, Objects, Text, Texts};

/// Members of `aws`, of a segment or a call, as AWS's schema, its documentation
/// and the OpenTelemetry collector have them.
const AWS: Members = &[
    ("account_id", Text),
    ("operation", Text),
    ("region", Text),
    ("request_id", Text),
    ("id_2", Text),
    ("queue_url", Text),
    ("table_name", Text),
    ("table_names", Texts),
    ("retries", Integer),
    (
        "ec2",
        Object(&[
            ("instance_id", Text),
            ("availability_zone", Text),
            ("instance_size", Text),
            ("ami_id", Text),
        ]),
    ),
    (
        "ecs",
        Object(&[
            ("container", Text),
            ("container_id", Text),
            ("container_arn", Text),
            ("task_arn", Text),
            ("task_family", Text),
            ("cluster_arn", Text),
            ("availability_zone", Text),
            ("launch_type", Text),
        ]),
    ),
    (
        "eks",
        Object(&[
            ("cluster_name", Text),
            ("pod", Text),
            ("container_id", Text),
        ]),
    ),
    (
        "elastic_beanstalk",
        Object(&[
            ("environment_name", Text),
            ("version_label", Text),
            ("deployment_id", Integer),
        ]),
    ),
    (
        "cloudwatch_logs",
        Objects(&[("log_group", Text), ("arn", Text)]),
    ),
    (
        "xray",
        Object(&[
            ("sdk", Text),
            ("sdk_version", Text),
            ("package", Text),
            ("auto_instrumentation", Flag),
            ("sampling_rule_name", Text),
            ("rule_name", Text),
        ]),
    ),
    ("tracing", Object(&[("sdk", Text)])),
];

/// Members of `service`.
const SERVICE: Members = &[
    ("version", Text),
    ("name", Text),
    ("runtime", Text),
    ("runtime_version", Text),
    ("compiler", Text),
    ("compiler_version", Text),
];

/// The JSON of a member of `aws` as it may be written, if it may; and how many
/// values were left out.
pub(crate) fn member(key: &str, json: String) -> (Option<String>, u64) {
    let Some(shape) = shape_of(AWS, key) else {
        return (Some(json), 0);
    };
    let fits_at_a_glance = match shape {
        Text => json.starts_with('"'),
        Integer => json.len() < 19 && json.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    if fits_at_a_glance {
        return (Some(json), 0);
    }
    let Ok(mut value) = serde_json::from_str::<Value>(&json) else {
        return (None, 1);
    };
    if fits(&value, shape) {
        return (Some(json), 0);
    }
    let mut trimmed = 0;
    let stays = fit(&mut value, shape, &mut trimmed);
    (stays.then(|| harmless(value.to_string())), trimmed)
}

/// Makes all members of an `aws` block fit; returns how many values were left
/// out.
pub(crate) fn make_aws_fit(members: &mut Map<String, Value>) -> u64 {
    let mut trimmed = 0;
    fit_members(members, AWS, &mut trimmed);
    trimmed
}

/// The same for a `service` block.
pub(crate) fn make_service_fit(members: &mut Map<String, Value>) -> u64 {
    let mut trimmed = 0;
    fit_members(members, SERVICE, &mut trimmed);
    trimmed
}

/// Go's readers, the collector among them, look for keys without case.
fn shape_of(members: Members, key: &str) -> Option<&'static Shape> {
    let known = members
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(key));
    known.map(|(_, shape)| shape)
}

fn fits(value: &Value, shape: &Shape) -> bool {
    let all_fit = |members: Members, object: &Map<String, Value>| {
        object
            .iter()
            .all(|(key, value)| shape_of(members, key).is_none_or(|shape| fits(value, shape)))
    };
    match shape {
        Text => value.is_string(),
        Integer => value.is_i64(),
        Flag => value.is_boolean(),
        Texts => value
            .as_array()
            .is_some_and(|items| items.iter().all(Value::is_string)),
        Object(members) => value
            .as_object()
            .is_some_and(|object| all_fit(members, object)),
        Objects(members) => value.as_array().is_some_and(|items| {
            let mut objects = items.iter().map(Value::as_object);
            objects.all(|object| object.is_some_and(|object| all_fit(members, object)))
        }),
    }
}

/// Makes a value fit where that changes nothing but its spelling. `false` when
/// it is to be left out, which is counted, like each part that is.
fn fit(value: &mut Value, shape: &Shape, trimmed: &mut u64) -> bool {
    if fits(value, shape) {
        return true;
    }
    let exact = match (shape, &mut *value) {
        (Text, Value::Number(number)) => Some(Value::from(number.to_string())),
        (Text, Value::Bool(flag)) => Some(Value::from(flag.to_string())),
        (Integer, Value::String(text)) => integer_of(text).map(Value::from),
        (Integer, Value::Number(number)) => number.as_f64().and_then(whole).map(Value::from),
        (Flag, Value::String(text)) => text.parse::<bool>().ok().map(Value::from),
        (Texts, Value::Array(items)) => {
            items.retain_mut(|item| fit(item, &Text, trimmed));
            return true;
        }
        (Object(members), Value::Object(object)) => {
            fit_members(object, members, trimmed);
            return !object.is_empty();
        }
        (Objects(members), Value::Array(items)) => {
            items.retain_mut(|item| fit(item, &Object(members), trimmed));
            return true;
        }
        _ => None,
    };
    match exact {
        Some(exact) => *value = exact,
        None => *trimmed += 1,
    }
    fits(value, shape)
}

fn fit_members(object: &mut Map<String, Value>, members: Members, trimmed: &mut u64) {
    object
        .retain(|key, value| shape_of(members, key).is_none_or(|shape| fit(value, shape, trimmed)));
}

/// The number that is spelled just so.
fn integer_of(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The integer that a float is, as long as it tells one from the next.
fn whole(number: f64) -> Option<i64> {
    let is_whole = number.fract() == 0.0 && number.abs() < (1_u64 << 53) as f64;
    is_whole.then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_members_have_their_type_or_are_left_out() {
        for (key, given, expected, trimmed) in [
            ("account_id", "123", Some("\"123\""), 0),
            ("account_id", "\"123\"", Some("\"123\""), 0),
            ("Account_ID", "123", Some("\"123\""), 0),
            ("operation", "true", Some("\"true\""), 0),
            ("operation", "[1]", None, 1),
            ("operation", "{\"a\":1}", None, 1),
            ("retries", "\"2\"", Some("2"), 0),
            ("retries", "2", Some("2"), 0),
            ("retries", "-2", Some("-2"), 0),
            ("retries", "2.0", Some("2"), 0),
            ("retries", "2.5", None, 1),
            ("retries", "\"02\"", None, 1),
            ("retries", "18446744073709551615", None, 1),
            ("retries", "\"two\"", None, 1),
            ("table_names", "[\"a\",2,[]]", Some("[\"a\",\"2\"]"), 1),
            ("table_names", "\"a\"", None, 1),
            ("ecs", "\"a\"", None, 1),
            ("ecs", "[]", None, 1),
            (
                "ecs",
                "{\"container\":7,\"novel\":[1]}",
                Some("{\"container\":\"7\",\"novel\":[1]}"),
                0,
            ),
            ("ecs", "{\"container\":[7]}", None, 1),
            (
                "elastic_beanstalk",
                "{\"deployment_id\":\"7\",\"version_label\":7}",
                Some("{\"deployment_id\":7,\"version_label\":\"7\"}"),
                0,
            ),
            (
                "cloudwatch_logs",
                "[{\"log_group\":1},2,{\"arn\":\"a\"}]",
                Some("[{\"log_group\":\"1\"},{\"arn\":\"a\"}]"),
                1,
            ),
            ("novel", "[1,{\"a\":2.50}]", Some("[1,{\"a\":2.50}]"), 0),
            (
                "ec2",
                "{\"z\":1.50,\"a\":2}",
                Some("{\"z\":1.50,\"a\":2}"),
                0,
            ),
        ] {
            let (json, left_out) = member(key, given.to_owned());
            assert_eq!(json.as_deref(), expected, "{key} {given}");
            assert_eq!(left_out, trimmed, "{key} {given}");
        }
    }
}
