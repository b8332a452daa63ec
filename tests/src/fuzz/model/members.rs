//! The members of an entity's document, made of its maps.

use serde_json::{Map, Value, json};
use xray_core::{AnnotationValue, Namespace};

use super::super::name::valid_name;
use super::entity::Values;
use super::operations::Settings;
use super::words;

/// More than an entity has values: each of them may be trimmed.
pub(super) const TRIMS: u64 = 10_000;

/// Values that a document cuts, or writes under a key with other characters: at
/// least and at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trims(pub(super) u64, pub(super) u64);

impl Trims {
    pub(super) fn add(&mut self, trimmed: u64) {
        self.0 += trimmed;
        self.1 += trimmed;
    }
}

/// Stands for any text that marks a value which was left out.
pub(super) const MARK: &str = "\0mark";

impl Values {
    /// The members of its document, but for identity and time.
    pub(super) fn members(
        &self,
        is_segment: bool,
        settings: &Settings,
        rule: Option<&str>,
    ) -> (Map<String, Value>, Trims) {
        let mut trims = Trims::default();
        let mut document = Map::new();
        let name = valid_name(&self.name);
        trims.add(u64::from(name != self.name));
        document.insert("name".into(), name.into());
        self.flags(&mut document);
        if is_segment {
            // What belongs to subsegments alone is left out.
            trims.1 += (self.sql.len() + self.precursors.len()) as u64;
            self.of_segment(&mut document, settings, rule, &mut trims);
        } else {
            self.of_subsegment(&mut document);
        }
        self.causes(&mut document);
        self.http(&mut document);
        put_object(
            &mut document,
            "annotations",
            self.all_annotations(&mut trims),
        );
        let namespaces = self.metadata.iter().map(|(namespace, members)| {
            let members = members.iter().map(|(key, value)| {
                let value = value.clone().unwrap_or_else(|| json!(MARK));
                (key.clone(), value)
            });
            (namespace.clone(), Value::Object(members.collect()))
        });
        put_object(&mut document, "metadata", namespaces.collect());
        (document, trims)
    }

    fn flags(&self, document: &mut Map<String, Value>) {
        for (name, flag) in [
            ("error", self.error),
            ("throttle", self.throttle),
            ("fault", self.fault),
            ("traced", self.traced),
        ] {
            if flag {
                document.insert(name.into(), true.into());
            }
        }
        if let Some(namespace) = self.namespace {
            let text = match namespace {
                Namespace::Aws => "aws",
                _ => "remote",
            };
            document.insert("namespace".into(), text.into());
        }
    }

    fn of_segment(
        &self,
        document: &mut Map<String, Value>,
        settings: &Settings,
        rule: Option<&str>,
        trims: &mut Trims,
    ) {
        let mut short = |text: &str| {
            let (text, trimmed) = words::cut(text, 250);
            trims.add(trimmed);
            Value::from(text)
        };
        let named = |text: &'static str| settings.named.then(|| text.to_owned());
        if let Some(user) = &self.user {
            document.insert("user".into(), short(user));
        }
        if let Some(origin) = self.origin.clone().or(named("AWS::ECS::Container")) {
            document.insert("origin".into(), short(&origin));
        }
        if let Some(version) = self.version.clone().or(named("7")) {
            document.insert("service".into(), json!({ "version": short(&version) }));
        }
        let mut xray = json!({
            "sdk": "X-Ray for Rust", "sdk_version": env!("CARGO_PKG_VERSION"),
        });
        if let Some(rule) = rule {
            xray["sampling_rule_name"] = rule.into();
        }
        let mut aws = self.aws();
        aws.insert("xray".into(), xray);
        document.insert("aws".into(), aws.into());
        if !self.links.is_empty() {
            document.insert("links".into(), self.links.clone().into());
        }
    }

    fn of_subsegment(&self, document: &mut Map<String, Value>) {
        put_object(document, "aws", self.aws());
        let sql = self.sql.iter();
        let sql = sql.map(|(key, text)| ((*key).to_owned(), text.clone().into()));
        put_object(document, "sql", sql.collect());
        if !self.precursors.is_empty() {
            document.insert("precursor_ids".into(), self.precursors.clone().into());
        }
    }

    fn aws(&self) -> Map<String, Value> {
        let members = self.aws.iter();
        members
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    }

    fn causes(&self, document: &mut Map<String, Value>) {
        let exceptions = self.exceptions.iter().map(|exception| {
            let mut one = json!({
                "id": exception.number, "type": exception.kind, "message": exception.message,
            });
            if let Some(cause) = exception.cause {
                one["cause"] = cause.into();
            }
            if exception.recorded {
                one["stack"] = json!([{ "path": words::RECORDS, "label": "recorded" }]);
            }
            one
        });
        let exceptions: Vec<Value> = exceptions.collect();
        if !exceptions.is_empty() {
            document.insert("cause".into(), json!({ "exceptions": exceptions }));
        } else if let Some(cause) = self.cause {
            document.insert("cause".into(), cause.into());
        }
    }

    fn http(&self, document: &mut Map<String, Value>) {
        let mut http = Map::new();
        if let Some(request) = &self.request {
            http.insert("request".into(), request.clone());
        }
        let mut response = Map::new();
        if let Some(status) = self.status {
            response.insert("status".into(), status.into());
        }
        if let Some(length) = self.length {
            response.insert("content_length".into(), length.into());
        }
        put_object(&mut http, "response", response);
        put_object(document, "http", http);
    }

    /// Tallies are written last. After a flood some are left out.
    fn all_annotations(&self, trims: &mut Trims) -> Map<String, Value> {
        trims.1 += if self.flooded { TRIMS } else { 0 };
        let mut all = self.annotations.clone();
        all.extend(self.tallies.clone());
        let written = all.into_iter().map(|(key, annotation)| {
            trims.1 += u64::from(annotation.respelt);
            let value = match annotation.value {
                AnnotationValue::Text(text) => {
                    let (text, trimmed) = words::cut(&text, 1_000);
                    trims.add(trimmed);
                    text.into()
                }
                AnnotationValue::Integer(number) => number.into(),
                AnnotationValue::Unsigned(number) => number.into(),
                AnnotationValue::Boolean(flag) => flag.into(),
                AnnotationValue::Float(nan) if nan.is_nan() => "NaN".into(),
                AnnotationValue::Float(f64::INFINITY) => "Infinity".into(),
                AnnotationValue::Float(f64::NEG_INFINITY) => "-Infinity".into(),
                AnnotationValue::Float(number) => number.into(),
                _ => Value::Null,
            };
            (key, value)
        });
        written.collect()
    }
}

fn put_object(document: &mut Map<String, Value>, key: &str, object: Map<String, Value>) {
    if !object.is_empty() {
        document.insert(key.into(), object.into());
    }
}
