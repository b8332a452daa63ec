//! The `sql` block.

use std::borrow::Cow;

use crate::http::without_secrets;
use crate::limits;
use crate::record::Field;
use crate::record::trace::{Key, Trace};

/// What is known of a query: the `sql` block of a remote subsegment, which is
/// named `database@host` by custom.
///
/// The query is recorded as given: pass it with placeholders, never with the
/// values put in. Passwords in URL and connection string are masked.
///
/// ```
/// # use xray_core::{Namespace, Sql};
/// # let (recorder, capture) = xray_core::Recorder::capture("shop");
/// # let segment = recorder.begin_segment("shop");
/// let query = segment.subsegment("orders@db").namespace(Namespace::Remote).begin();
/// query.sql(
///     &Sql::new()
///         .url("postgresql://shop:secret@db:5432/orders")
///         .sanitized_query("SELECT * FROM orders WHERE id = $1")
///         .database_type("PostgreSQL"),
/// );
/// # drop((query, segment));
/// # let sql = capture.documents()[0].subsegments[0].sql.clone().unwrap();
/// # assert_eq!(sql.url.as_deref(), Some("postgresql://db:5432/orders"));
/// ```
///
/// Source: [segment documents, SQL queries](https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html#api-segmentdocuments-sql).
#[derive(Debug, Clone, Default)]
pub struct Sql<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> Sql<'a> {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The database as a URL, `scheme://host[:port]/database`. User, password
    /// and query are cut out. One of another form is recorded as the
    /// connection string, since collectors refuse the whole document over it.
    #[must_use]
    pub fn url(self, url: &'a str) -> Self {
        let (origin, rest) = without_secrets(url);
        let url = format!("{origin}{rest}");
        if is_url(&url) {
            self.with("url", url)
        } else {
            self.connection_string(url)
        }
    }

    /// The database as its driver names it. The values of `password`, `pwd` and
    /// of AWS tokens are masked.
    #[must_use]
    pub fn connection_string(self, text: impl Into<Cow<'a, str>>) -> Self {
        self.with("connection_string", masked(&text.into()))
    }

    /// The query, with placeholders in place of values.
    #[must_use]
    pub fn sanitized_query(self, query: &'a str) -> Self {
        self.with("sanitized_query", query)
    }

    /// The product, such as `PostgreSQL`.
    #[must_use]
    pub fn database_type(self, product: &'a str) -> Self {
        self.with("database_type", product)
    }

    /// The version of the product.
    #[must_use]
    pub fn database_version(self, version: &'a str) -> Self {
        self.with("database_version", version)
    }

    /// Name and version of the driver.
    #[must_use]
    pub fn driver_version(self, version: &'a str) -> Self {
        self.with("driver_version", version)
    }

    /// The database user, without a password; 250 characters.
    #[must_use]
    pub fn user(self, user: &'a str) -> Self {
        self.with("user", user)
    }

    /// Whether the query was prepared as a statement or calls a procedure.
    #[must_use]
    pub fn preparation(self, preparation: Preparation) -> Self {
        let text = match preparation {
            Preparation::Statement => "statement",
            Preparation::Call => "call",
        };
        self.with("preparation", text)
    }

    fn with(mut self, key: &'static str, text: impl Into<Cow<'a, str>>) -> Self {
        self.0.push((key, text.into()));
        self
    }

    pub(crate) fn record(&self, trace: &Trace, key: Key) {
        for (name, text) in &self.0 {
            trace.put_text(key, Field::Sql, name, text, limits::SQL_BYTES);
        }
    }
}

/// How a query was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preparation {
    /// A prepared statement.
    Statement,
    /// A stored procedure.
    Call,
}

/// `scheme://host/rest`
fn is_url(url: &str) -> bool {
    let rest = url
        .split_once("://")
        .filter(|(scheme, _)| !scheme.is_empty());
    let database = rest.and_then(|(_, rest)| rest.split_once('/'));
    !url.contains('\n') && database.is_some_and(|(host, path)| !host.is_empty() && !path.is_empty())
}

/// Keys whose values are secrets, compared without case.
const SECRETS: [&str; 7] = [
    "password",
    "pwd",
    "passwd",
    "secret",
    "token",
    "x-amz-security-token",
    "x-amz-signature",
];

/// Masks `key=value` pairs between `;`, `&`, `?` or blanks.
fn masked(text: &str) -> String {
    let (origin, rest) = mask_user_info(text);
    let mut out = origin;
    let mut pairs = rest;
    while !pairs.is_empty() {
        let end = pairs
            .find([';', '&', '?', ' ', '\t', '\n'])
            .unwrap_or(pairs.len());
        let (pair, after) = pairs.split_at(end);
        let key = pair.split_once('=').map(|(key, _)| key.trim());
        match key {
            Some(key) if is_secret(key) => {
                out.push_str(key);
                out.push_str("=***");
                pairs = skip_quoted(pair, after);
            }
            _ => {
                out.push_str(pair);
                pairs = after;
            }
        }
        if let Some(separator) = pairs.chars().next() {
            out.push(separator);
            pairs = &pairs[separator.len_utf8()..];
        }
    }
    out
}

fn is_secret(key: &str) -> bool {
    SECRETS
        .iter()
        .any(|secret| key.eq_ignore_ascii_case(secret))
}

/// A quoted value may hold what otherwise ends a pair.
fn skip_quoted<'a>(pair: &str, after: &'a str) -> &'a str {
    let value = pair
        .split_once('=')
        .map_or("", |(_, value)| value.trim_start());
    let Some(quote) = value.chars().next().filter(|quote| "'\"{".contains(*quote)) else {
        return after;
    };
    let closing = if quote == '{' { '}' } else { quote };
    if value.len() > 1 && value.ends_with(closing) {
        return after;
    }
    after
        .find(closing)
        .map_or("", |at| &after[at + closing.len_utf8()..])
}

/// `user:password@` before the first host: the password goes.
fn mask_user_info(text: &str) -> (String, &str) {
    let start = text.find("//").map_or(0, |at| at + 2);
    let end = text[start..]
        .find(['/', '?', ' ', ';'])
        .map_or(text.len(), |at| start + at);
    let Some(at) = text[start..end].rfind('@') else {
        return (String::new(), text);
    };
    let (user_info, rest) = (&text[start..start + at], &text[start + at..]);
    let user = user_info.split(':').next().unwrap_or_default();
    let mask = if user_info.contains(':') { ":***" } else { "" };
    (format!("{}{user}{mask}", &text[..start]), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked() {
        for (given, expected) in [
            ("Server=db;Uid=me;Pwd=s3cr3t;", "Server=db;Uid=me;Pwd=***;"),
            (
                "host=db password='s3 cr3t' user=me",
                "host=db password=*** user=me",
            ),
            (
                "host=db password={s3;cr3t};user=me",
                "host=db password=***;user=me",
            ),
            (
                "me:s3cr3t@tcp(db:3306)/orders",
                "me:***@tcp(db:3306)/orders",
            ),
            (
                "mysql://me:s3cr3t@db/orders?password=s3cr3t",
                "mysql://me:***@db/orders?password=***",
            ),
            (
                "db/orders?X-Amz-Security-Token=s3cr3t&a=b",
                "db/orders?X-Amz-Security-Token=***&a=b",
            ),
            ("host=db user=me", "host=db user=me"),
            ("", ""),
        ] {
            assert_eq!(masked(given), expected);
        }
    }

    #[test]
    fn only_what_collectors_take_is_a_url() {
        assert!(is_url("postgresql://db:5432/orders"));
        for bad in [
            "postgresql://db",
            "db/orders",
            "://db/x",
            "a:///x",
            "a://b/",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
