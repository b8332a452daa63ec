//! The `sql` block.

use std::borrow::Cow;
use std::fmt;

use crate::limits;
use crate::record::{NodeIndex, Record, floor_char_boundary};
use crate::secrets::{self, is_harmless};
use crate::url::{odd_port, without_secrets};

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
        let (url, _) = mask_pairs(url);
        let (origin, rest) = without_secrets(&url);
        let url = masked(&format!("{origin}{rest}"));
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

/// What ends a pair, and so stands before a key.
const SEPARATORS: [char; 6] = [';', '&', '?', ',', '(', '\n'];

/// Masks the passwords before hosts, and every value in `key=value` but those of
/// keys that are known to be harmless, whatever stands between such pairs.
fn masked(text: &str) -> String {
    let (out, rest) = mask_user_info(text);
    mask_inner_users(out + &mask_pairs(rest).0)
}

/// Also tells whether the text ends within a secret.
fn mask_pairs(text: &str) -> (String, bool) {
    let (mut out, mut rest) = (String::new(), text);
    let mut in_secret = false;
    let by_blanks = !text.contains(';');
    while let Some(equals) = rest.find('=') {
        let (before, after) = (&rest[..equals], &rest[equals + 1..]);
        mask_named(&mut out, before);
        out.push('=');
        rest = after;
        if is_secret(before, by_blanks) {
            out.push_str("***");
            rest = skip_value(after);
            in_secret = rest.is_empty();
        }
    }
    mask_named(&mut out, rest);
    (out, in_secret)
}

/// Whether a value is a secret, by the key at the end of what stands before it:
/// its last word where blanks part the pairs.
fn is_secret(before: &str, by_blanks: bool) -> bool {
    let separator = before.rfind(SEPARATORS);
    let key = before[separator.map_or(0, |at| at + 1)..].trim();
    let last = key.rsplit(char::is_whitespace).next().unwrap_or(key);
    !(is_harmless(key) || (by_blanks && is_harmless(last)))
}

/// Writes a text without the values of `NAME:value` whose name is a secret's.
fn mask_named(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(colon) = rest.find(':') {
        let (before, after) = (&rest[..colon], &rest[colon + 1..]);
        out.push_str(before);
        out.push(':');
        rest = after;
        let name = before.rsplit(|c| !is_of_key(c)).next();
        if name.is_some_and(secrets::is_secret) && !after.starts_with("//") {
            let ends = |c: char| SEPARATORS.contains(&c) || c.is_whitespace();
            out.push_str("***");
            rest = &after[after.find(ends).unwrap_or(after.len())..];
        }
    }
    out.push_str(rest);
}

/// Masks the passwords of the URLs that values hold.
fn mask_inner_users(text: String) -> String {
    let Some(first) = text.find("://") else {
        return text;
    };
    let (mut out, mut rest) = (text[..first].to_owned(), &text[first..]);
    while let Some(at) = rest.find("://") {
        out.push_str(&rest[..at + 3]);
        rest = &rest[at + 3..];
        let ends = |c: char| ";\"'".contains(c) || c.is_whitespace();
        let url = &rest[..rest.find(ends).unwrap_or(rest.len())];
        let host = &url[..url.find(['/', '?', '#', ',']).unwrap_or(url.len())];
        let is_odd = odd_port(host, false).is_some_and(|colon| !url[colon..].starts_with(":***"));
        let end = if is_odd {
            url.rfind('@')
        } else {
            host.rfind('@')
        };
        if let Some((user, _)) = end.and_then(|end| url[..end].split_once(':')) {
            out.push_str(user);
            out.push_str(":***");
            rest = &rest[end.unwrap_or(0)..];
        }
    }
    out + rest
}

/// What stands behind a value. It ends where it must, or where the next key
/// comes: some dialects have blanks in values, others have them between pairs.
fn skip_value(after: &str) -> &str {
    let value = after.trim_start_matches([' ', '\t']);
    if let Some(quote) = value.chars().next().filter(|quote| "'\"{".contains(*quote)) {
        return skip_quoted(&value[1..], if quote == '{' { '}' } else { quote });
    }
    let blank_before = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | ',');
    let start = after.len() - value.len();
    let end = value.char_indices().find(|(at, c)| match c {
        ';' | '&' => true,
        c if blank_before(*c) => is_before_key(&value[at + 1..]),
        _ => false,
    });
    &after[start + end.map_or(value.len(), |(at, _)| at)..]
}

/// Whether a known key comes: any other may be more of the value, as base64 ends
/// in `=`.
fn is_before_key(text: &str) -> bool {
    let Some((key, _)) = text.split_once('=') else {
        return false;
    };
    let key = key.trim();
    key.chars().all(is_of_key) && (is_harmless(key) || secrets::is_secret(key))
}

fn is_of_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

/// What stands behind the closing quote, which a doubled one or one behind a
/// backslash is not.
fn skip_quoted(value: &str, closing: char) -> &str {
    let mut chars = value.char_indices();
    while let Some((at, c)) = chars.next() {
        let rest = &value[at + c.len_utf8()..];
        if c == '\\' || (c == closing && rest.starts_with(closing)) {
            chars.next();
        } else if c == closing {
            return rest;
        }
    }
    ""
}

/// `user:password@host`, or `user/password@host` where no scheme stands in
/// front: the password goes. What is masked, and what is behind.
fn mask_user_info(text: &str) -> (String, &str) {
    let nothing = (String::new(), text);
    let Some(first) = text.find('@') else {
        return nothing;
    };
    let start = text[..first].find("//").map_or(0, |at| at + 2);
    if start == 0 && text[..first].contains('=') {
        return nothing; // an `@` in one of the pairs
    }
    let (before, in_secret) = mask_pairs(&text[..start]);
    if in_secret {
        return nothing; // slashes of its own, and no URL
    }
    let rest = &text[start..];
    let host = &rest[..rest.find(['/', '?', ' ', ';']).unwrap_or(rest.len())];
    if start > 0 && !host.contains('@') && odd_port(host, false).is_none() {
        return nothing; // behind the host
    }
    // The password may hold anything, and the host no `@`.
    let end = text[first..].find(['?', ' ', ';']);
    let end = end.map_or(text.len(), |at| first + at);
    let Some(at) = text[start..end].rfind('@') else {
        return nothing;
    };
    let (user_info, rest) = rest.split_at(at);
    let mut pairs = user_info.match_indices('=');
    if pairs.any(|(at, _)| is_secret(&user_info[..at], true)) {
        // The `@` may as well stand in that secret: nothing behind is safe.
        return (before + "***", "");
    }
    let user = user_info.split([':', '/']).next().unwrap_or_default();
    let mask = if user.len() < user_info.len() {
        ":***"
    } else {
        ""
    };
    (format!("{before}{user}{mask}"), rest)
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
                "db/orders?X-Amz-Security-Token=s3cr3t&ssl=on",
                "db/orders?X-Amz-Security-Token=***&ssl=on",
            ),
            ("host=db user=me", "host=db user=me"),
            ("", ""),
            ("Pwd = s3 cr3t ;Uid=me", "Pwd =***;Uid=me"),
            ("password = s3 cr3t user=me", "password =*** user=me"),
            ("password='s3''cr\\'3t' user=me", "password=*** user=me"),
            (
                "mysql://me:s3/c?r3t@db:3306/orders?user=me@srv",
                "mysql://me:***@db:3306/orders?user=me@srv",
            ),
            (
                "mysql://db:3306/orders?user=me@srv&passwd=s3cr3t",
                "mysql://db:3306/orders?user=me@srv&passwd=***",
            ),
            ("scott/s3cr3t@db", "scott:***@db"),
            (
                "AccountName=a;AccountKey=s3cr3t==;Shared Access Key=s3cr3t",
                "AccountName=a;AccountKey=***;Shared Access Key=***",
            ),
            ("mysql://me@db/orders", "mysql://me@db/orders"),
            ("Server=db;Pwd=s3//cr@3t;Uid=me", "Server=db;Pwd=***;Uid=me"),
            (
                "Pwd=s3cr3t;Endpoint=sb://me:s3cr3t@bus/",
                "Pwd=***;Endpoint=sb://me:***@bus/",
            ),
            ("Pwd=a=//s3@cr3t;Uid=me", "Pwd=***;Uid=me"),
            ("Url=//db:1,Pwd=s3@cr3t,Uid=me", "Url=***,Pwd=***,Uid=me"),
            ("sqlite:///o.db?key=s3cr3t", "sqlite:///o.db?key=***"),
            (
                "Server=db;OAuthPvtKey=s3cr3t;",
                "Server=db;OAuthPvtKey=***;",
            ),
            (
                "AwsCredentialsProviderArguments=AKIA,s3cr3t==,host=db",
                "AwsCredentialsProviderArguments=***,host=db",
            ),
            (
                "authMechanismProperties=AWS_SESSION_TOKEN:s3cr3t&w=1",
                "authMechanismProperties=***&w=1",
            ),
            (
                "host=db;app=a,AWS_SESSION_TOKEN:s3cr3t;w=1",
                "host=db;app=a,AWS_SESSION_TOKEN:***;w=1",
            ),
            ("token:s3cr3t host:db", "token:*** host:db"),
            (
                "private_key_base64=s3cr3t host=db",
                "private_key_base64=*** host=db",
            ),
            ("novel=s3cr3t&port=1", "novel=***&port=1"),
            (
                "Endpoint=sb://a/;Server=tcp://me:s3cr3t@b:1",
                "Endpoint=sb://a/;Server=tcp://me:***@b:1",
            ),
            (
                "Endpoint=sb://a:1/;Server=tcp://me:s/3cr3t@b",
                "Endpoint=sb://a:1/;Server=tcp://me:***@b",
            ),
            (
                "(ADDRESS=(PROTOCOL=TCP)(HOST=db)(PORT=1521))",
                "(ADDRESS=(PROTOCOL=TCP)(HOST=db)(PORT=1521))",
            ),
            ("Server=tcp:db.example,1433", "Server=tcp:db.example,1433"),
        ] {
            assert_eq!(masked(given), expected);
        }
    }

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
