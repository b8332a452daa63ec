//! Local rules as JSON, version 1 and 2.

use std::fmt;

use serde_json::{Map, Value};

use super::rules::{LocalRules, Rule};

/// What is wrong with a text of sampling rules, and where; it reads for
/// instance
/// `rule 3 ("checkout"): "rate" is 1.5, must be a number from 0 to 1`.
#[derive(Debug)]
pub struct SamplingRulesError {
    place: Place,
    problem: Problem,
}

impl fmt::Display for SamplingRulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Whole => {}
            Place::Default => f.write_str("default: ")?,
            Place::Rule(number, None) => write!(f, "rule {number}: ")?,
            Place::Rule(number, Some(description)) => write!(f, "rule {number} ({description}): ")?,
        }
        match &self.problem {
            Problem::Json(error) => write!(f, "no JSON: {error}"),
            Problem::NoObject(found) => write!(f, "is {found}, must be an object"),
            Problem::Missing(key) => write!(f, "\"{key}\" is missing"),
            Problem::Wrong(key, found, must) => write!(f, "\"{key}\" is {found}, must be {must}"),
            Problem::OtherVersion { key, version, here } => write!(
                f,
                "\"{key}\" belongs to version {version}, this version says \"{here}\""
            ),
            Problem::InDefault(key) => write!(f, "\"{key}\" has no place here, it is for all"),
        }
    }
}

impl std::error::Error for SamplingRulesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Json(error) => Some(error),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum Place {
    Whole,
    Default,
    /// Counted from 1, and its description.
    Rule(usize, Option<String>),
}

#[derive(Debug)]
enum Problem {
    Json(serde_json::Error),
    NoObject(String),
    Missing(&'static str),
    Wrong(&'static str, String, &'static str),
    OtherVersion {
        key: &'static str,
        version: u8,
        here: &'static str,
    },
    InDefault(&'static str),
}

pub(super) fn read(text: &str) -> Result<LocalRules, SamplingRulesError> {
    let whole = |problem| SamplingRulesError {
        place: Place::Whole,
        problem,
    };
    // Editors on Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: Value =
        serde_json::from_str(text).map_err(|error| whole(Problem::Json(error)))?;
    let document = Attributes::of(&document).map_err(whole)?;
    let version = document.version().map_err(whole)?;
    let default = document.needed("default").map_err(whole)?;
    let (fixed_target, rate) = read_default(default).map_err(|problem| SamplingRulesError {
        place: Place::Default,
        problem,
    })?;
    let mut rules = LocalRules::new(fixed_target, rate);
    for (at, rule) in document.rules().map_err(whole)?.iter().enumerate() {
        let rule = read_rule(rule, &version).map_err(|problem| SamplingRulesError {
            place: Place::Rule(at + 1, description(rule)),
            problem,
        })?;
        rules = rules.rule(rule);
    }
    Ok(rules)
}

/// The versions differ in a word.
struct Version {
    host: &'static str,
    other: u8,
    other_host: &'static str,
}

fn read_default(default: &Value) -> Result<(u32, f64), Problem> {
    let default = Attributes::of(default)?;
    let mut patterns = ["host", "service_name", "http_method", "url_path"].into_iter();
    if let Some(key) = patterns.find(|key| default.get(key).is_some()) {
        return Err(Problem::InDefault(key));
    }
    Ok((default.fixed_target()?, default.rate()?))
}

fn read_rule(rule: &Value, version: &Version) -> Result<Rule, Problem> {
    let rule = Attributes::of(rule)?;
    if let Some(found) = rule.get("description")
        && !found.is_string()
    {
        return Err(wrong("description", found, "text"));
    }
    if rule.get(version.other_host).is_some() {
        return Err(Problem::OtherVersion {
            key: version.other_host,
            version: version.other,
            here: version.host,
        });
    }
    Ok(Rule::new()
        .host(rule.text(version.host)?)
        .method(rule.text("http_method")?)
        .path(rule.text("url_path")?)
        .fixed_target(rule.fixed_target()?)
        .rate(rule.rate()?))
}

fn description(rule: &Value) -> Option<String> {
    Some(quoted(rule.get("description")?.as_str()?))
}

/// An object of the document. What is `null` is absent.
struct Attributes<'a>(&'a Map<String, Value>);

impl<'a> Attributes<'a> {
    fn of(value: &'a Value) -> Result<Self, Problem> {
        let object = value.as_object().map(Self);
        object.ok_or_else(|| Problem::NoObject(found(value)))
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn needed(&self, key: &'static str) -> Result<&'a Value, Problem> {
        self.get(key).ok_or(Problem::Missing(key))
    }

    fn version(&self) -> Result<Version, Problem> {
        let found = self.needed("version")?;
        match found.as_u64() {
            Some(1) => Ok(Version {
                host: "service_name",
                other: 2,
                other_host: "host",
            }),
            Some(2) => Ok(Version {
                host: "host",
                other: 1,
                other_host: "service_name",
            }),
            _ => Err(wrong("version", found, "1 or 2")),
        }
    }

    fn rules(&self) -> Result<&'a [Value], Problem> {
        match self.get("rules") {
            None => Ok(&[]),
            Some(Value::Array(rules)) => Ok(rules),
            Some(found) => Err(wrong("rules", found, "a list")),
        }
    }

    fn text(&self, key: &'static str) -> Result<&'a str, Problem> {
        let found = self.needed(key)?;
        found.as_str().ok_or_else(|| wrong(key, found, "text"))
    }

    fn fixed_target(&self) -> Result<u32, Problem> {
        let key = "fixed_target";
        let found = self.needed(key)?;
        let target = found.as_u64().and_then(|target| target.try_into().ok());
        target.ok_or_else(|| wrong(key, found, "a whole number from 0 to 4294967295"))
    }

    fn rate(&self) -> Result<f64, Problem> {
        let found = self.needed("rate")?;
        let rate = found.as_f64().filter(|rate| (0.0..=1.0).contains(rate));
        rate.ok_or_else(|| wrong("rate", found, "a number from 0 to 1"))
    }
}

fn wrong(key: &'static str, value: &Value, must: &'static str) -> Problem {
    Problem::Wrong(key, found(value), must)
}

/// A value as a message shows it: on one line, and no longer than that.
fn found(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(FOUND_CHARS) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// Characters of a text that a message shows.
const FOUND_CHARS: usize = 60;
