//! The `sql` block.

use std::borrow::Cow;
use std::fmt;

use crate::connection_string::masked;
use crate::limits;
use crate::record::{NodeIndex, Record, floor_char_boundary};
use crate::url::without_secrets;

/// What is known of a query: the `sql` block of a remote subsegment, which is
/// named `database@host` by custom. Each text is cut at 16 KiB.
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
#[derive(Clone, Default)]
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
        if !url.contains("://") {
            return self.connection_string(url);
        }
        // Pairs first: what looks like a user may be a part of their values.
        let url = masked(url);
        let (origin, rest) = without_secrets(&url);
        let url = format!("{origin}{rest}");
        let stored = floor_char_boundary(&url, limits::SQL_BYTES);
        if is_url(&url[..stored]) {
            self.with("url", url)
        } else {
            self.connection_string(url)
        }
    }

    /// The database as its driver names it. Masked are `password` in
    /// `user:password@host`, and in `key=value` every value but those of keys
    /// that are known to be harmless: host, port, database, user, application
    /// name, TLS mode, timeouts, pool sizes and the like.
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

    /// A segment has no place for it.
    pub(crate) fn record(&self, record: &mut Record, node: NodeIndex) {
        if record.node(node).is_segment {
            record.leave_out(1);
            return;
        }
        for (name, text) in &self.0 {
            record.push_sql(node, name, text);
        }
    }
}

/// Shows what is known, not its text: a query may have been given with values.
impl fmt::Debug for Sql<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.iter().map(|(name, _)| name);
        f.write_str("Sql")?;
        f.debug_set().entries(known).finish()
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

/// `scheme://host/rest`, without which collectors refuse the whole document.
pub(crate) fn is_url(url: &str) -> bool {
    let rest = url
        .split_once("://")
        .filter(|(scheme, _)| !scheme.is_empty());
    let database = rest.and_then(|(_, rest)| rest.split_once('/'));
    let names_one =
        |(host, path): (&str, &str)| !host.is_empty() && !path.is_empty() && !path.starts_with('?');
    !url.contains('\n') && database.is_some_and(names_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_at_sign_in_a_pair_of_a_url_is_no_user() {
        for (given, expected) in [
            (
                "jdbc:sqlserver://db:1433;user=me;password=s3@cr3t;encrypt=true",
                "jdbc:sqlserver://db",
            ),
            (
                "mysql://me:s3@db/orders?password=s3@cr3t",
                "mysql://db/orders",
            ),
        ] {
            assert_eq!(Sql::new().url(given).0[0].1, expected);
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
            "a://b/?c",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
