//! The forms and types of single fields.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// 1 to 200 characters of `\p{L} \p{N} \p{Z} _ . : / % & # = + - @`.
pub(crate) fn is_name(name: &str) -> bool {
    use GeneralCategoryGroup::{Letter, Number, Separator};
    (1..=200).contains(&name.chars().count())
        && name.chars().all(|character| {
            "_.:/%&#=+-@".contains(character)
                || matches!(
                    character.general_category_group(),
                    Letter | Number | Separator
                )
        })
}

pub(crate) fn is_annotation_key(key: &str) -> bool {
    (1..=500).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
}

/// What the collector's `^(.+//.+)/([^\?]+)\??.*$` matches.
pub(crate) fn is_sql_url(url: &str) -> bool {
    let url = url.as_bytes();
    // The leftmost `//` with something before it leaves the most room.
    let slashes = (1..url.len().saturating_sub(1)).find(|&at| url[at..].starts_with(b"//"));
    slashes.is_some_and(|at| {
        (at + 3..url.len())
            .any(|end| url[end] == b'/' && url.get(end + 1).is_some_and(|&next| next != b'?'))
    }) && !url.contains(&b'\n')
}

pub(crate) const NAME: &str = "must be 1 to 200 letters, numbers, spaces or _ . : / % & # = + - @";
pub(crate) const SEGMENT_ID: &str = "must be 16 hex digits, not all zero";
pub(crate) const TRACE_ID: &str = "must be 1-<8 hex digits>-<24 hex digits>, not all zero";
pub(crate) const TEXT: &str = "must be text";

pub(crate) enum Type {
    Text,
    Flag,
    /// Of 63 bits and a sign.
    Integer,
    /// An integer from 0.
    Length,
    Object,
    Texts,
}
/// Names of fields and their types.
pub(crate) type Fields = &'static [(&'static str, Type)];
use Type::{Flag, Integer, Length, Object, Text, Texts};

/// Fields of which the type alone is checked, under the object that holds them.
/// The collector reads them into typed structures and drops what does not fit.
pub(crate) const TYPES: &[(&[&str], Fields)] = &[
    (
        &[],
        &[
            ("in_progress", Flag),
            ("error", Flag),
            ("throttle", Flag),
            ("fault", Flag),
            ("http", Object),
            ("namespace", Text),
            ("traced", Flag),
            ("aws", Object),
            ("sql", Object),
            ("annotations", Object),
            ("metadata", Object),
            ("user", Text),
            ("origin", Text),
            ("resource_arn", Text),
            ("service", Object),
            ("precursor_ids", Texts),
        ],
    ),
    (&["http"], &[("request", Object), ("response", Object)]),
    (
        &["http", "request"],
        &[
            ("method", Text),
            ("url", Text),
            ("user_agent", Text),
            ("client_ip", Text),
            ("x_forwarded_for", Flag),
            ("traced", Flag),
        ],
    ),
    (
        &["http", "response"],
        &[("status", Integer), ("content_length", Length)],
    ),
    (
        &["aws"],
        &[
            ("account_id", Text),
            ("operation", Text),
            ("region", Text),
            ("request_id", Text),
            ("queue_url", Text),
            ("table_name", Text),
            ("table_names", Texts),
            ("retries", Integer),
            ("ec2", Object),
            ("ecs", Object),
            ("eks", Object),
            ("elastic_beanstalk", Object),
            ("xray", Object),
        ],
    ),
    (
        &["aws", "elastic_beanstalk"],
        &[
            ("environment_name", Text),
            ("version_label", Text),
            ("deployment_id", Integer),
        ],
    ),
    (
        &["aws", "xray"],
        &[
            ("sdk", Text),
            ("sdk_version", Text),
            ("auto_instrumentation", Flag),
        ],
    ),
    (
        &["service"],
        &[
            ("version", Text),
            ("compiler", Text),
            ("compiler_version", Text),
        ],
    ),
    (
        &["sql"],
        &[
            ("connection_string", Text),
            ("url", Text),
            ("sanitized_query", Text),
            ("database_type", Text),
            ("database_version", Text),
            ("driver_version", Text),
            ("user", Text),
            ("preparation", Text),
        ],
    ),
];
pub(crate) const CAUSE: Fields = &[("working_directory", Text), ("paths", Texts)];
pub(crate) const EXCEPTION: Fields = &[
    ("message", Text),
    ("type", Text),
    ("remote", Flag),
    ("truncated", Integer),
    ("skipped", Integer),
    ("cause", Text),
];
pub(crate) const STACK_FRAME: Fields = &[("path", Text), ("line", Integer), ("label", Text)];
