//! A connection string without its secrets. In doubt more of it is masked.

use crate::secrets::{is_harmless, is_secret};
use crate::url::odd_port;

const MASK: &str = "***";

/// No key is longer, so no more is read for one.
const KEY_CHARS: usize = 80;

/// Masks the password before a host, every value in `key=value` but harmless
/// ones, and whatever is neither an address nor a pair.
pub(crate) fn masked(text: &str) -> String {
    if text.trim_start().starts_with(['{', '[']) && !is_address(text) {
        return MASK.to_owned();
    }
    let Some(address) = Address::of(text) else {
        return mask_pairs(text);
    };
    if address.is_unclear {
        return address.before + MASK;
    }
    address.before + &mask_pairs(address.rest)
}

/// The user information of an address, which goes, and what is behind it.
struct Address<'a> {
    before: String,
    rest: &'a str,
    /// Where the password ends cannot be told.
    is_unclear: bool,
}

impl<'a> Address<'a> {
    /// `user:password@host`, or `user/password@host` where no scheme stands in
    /// front.
    fn of(text: &'a str) -> Option<Self> {
        let first_at = text.find('@');
        let slashes = text[..first_at.unwrap_or(text.len())].find("//");
        let start = slashes.map_or(0, |slashes| slashes + 2);
        if text[..start].contains('=') || (start == 0 && is_pair_before(text, first_at)) {
            return None; // in the value of a pair
        }
        let rest = &text[start..];
        let ends = |c: char| "?;".contains(c) || c.is_whitespace();
        let host = &rest[..rest
            .find(['/', '?', '#', ' ', ';', ','])
            .unwrap_or(rest.len())];
        let is_odd = start > 0 && odd_port(host, false).is_some();
        let Some(first_at) = first_at else {
            return is_odd.then(|| Self {
                before: text[..start].to_owned() + user(host) + ":",
                rest: "",
                is_unclear: true,
            });
        };
        if text[start..first_at].contains(ends) && !is_odd && start > 0 {
            return None; // behind the host
        }
        // The password may hold anything, and the host no `@`.
        let end = text[first_at..].find(ends);
        let end = end.map_or(text.len(), |at| first_at + at);
        let at = start + text[start..end].rfind('@')?;
        let user_info = &text[start..at];
        let user = user(user_info);
        let mask = if user == user_info { "" } else { ":***" };
        Some(Self {
            before: text[..start].to_owned() + user + mask,
            rest: &text[at..],
            is_unclear: user_info.contains('=') && user_info.contains(['?', ';', '&', ',']),
        })
    }
}

fn is_pair_before(text: &str, at: Option<usize>) -> bool {
    text[..at.unwrap_or(text.len())].contains('=')
}

fn user(user_info: &str) -> &str {
    let end = user_info.find([':', '/']);
    &user_info[..end.unwrap_or(user_info.len())]
}

/// How the pairs of a text are parted.
#[derive(Clone, Copy)]
enum Dialect {
    By(char),
    ByBlanks,
}

impl Dialect {
    fn parts(self, c: char) -> bool {
        match self {
            Self::By(separator) => c == separator,
            Self::ByBlanks => c.is_whitespace(),
        }
    }

    /// That of what stands first before a key, from the first value on.
    fn of_values(values: &str) -> Self {
        let separators = values.char_indices().filter_map(|(at, c)| {
            let dialect = match c {
                ';' | '&' | ',' | '(' => Self::By(c),
                c if c.is_whitespace() => Self::ByBlanks,
                _ => return None,
            };
            let behind = &values[at + c.len_utf8()..];
            dialect.key(behind).map(|_| dialect)
        });
        separators.into_iter().next().unwrap_or(Self::ByBlanks)
    }

    /// The key that stands before a `=` at the beginning of a text.
    fn key(self, text: &str) -> Option<&str> {
        let is_of_key =
            |c: char| c.is_alphanumeric() || "_-.".contains(c) || (c.is_whitespace() && c != '\n');
        let mut chars = text.char_indices().take(KEY_CHARS);
        let (end, _) = chars.find(|(_, c)| !is_of_key(*c))?;
        let key = &text[..end];
        let is_word = !key.trim().contains(char::is_whitespace);
        let is_key = text[end..].starts_with('=') && !key.trim().is_empty();
        (is_key && (is_word || matches!(self, Self::By(_)))).then_some(key)
    }

    /// Where a secret ends: before a known key, or at the end of the text.
    fn end_of_secret(self, value: &str) -> usize {
        let last = value.trim_end_matches(|c| self.parts(c)).len();
        let from = match Quoted::of(value) {
            Some(quoted) => match quoted.end {
                Some(end) if self.begins(&value[end..]) => end,
                _ => return value.len(),
            },
            None => value.len() - value.trim_start().len(),
        };
        let mut separators = value[from..].char_indices().filter(|(_, c)| self.parts(*c));
        let end = separators.find(|(at, c)| {
            let key = self.key(&value[from + at + c.len_utf8()..]);
            key.is_some_and(|key| is_harmless(key) || is_secret(key))
        });
        end.map_or(last, |(at, _)| from + at)
    }

    fn begins(self, text: &str) -> bool {
        let next = text.trim_start_matches([' ', '\t']).chars().next();
        next.is_none_or(|next| self.parts(next)) || text.starts_with(|c| self.parts(c))
    }
}

/// A value in quotes or braces.
struct Quoted {
    /// Behind what closes it.
    end: Option<usize>,
}

impl Quoted {
    fn of(text: &str) -> Option<Self> {
        let value = text.trim_start();
        let quote = value.chars().next().filter(|c| "'\"{".contains(*c))?;
        let closing = if quote == '{' { '}' } else { quote };
        let start = text.len() - value.len() + 1;
        let mut chars = text[start..].char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let is_doubled = c == closing && chars.peek().is_some_and(|(_, next)| *next == closing);
            if c == '\\' || is_doubled {
                chars.next();
            } else if c == closing {
                let end = Some(start + at + 1);
                return Some(Self { end });
            }
        }
        Some(Self { end: None })
    }
}

/// An address, and pairs behind it.
fn mask_pairs(text: &str) -> String {
    let first = text.find('=');
    let equals = first.unwrap_or(text.len());
    let key = first.and_then(|first| text[..first].rfind(['&', ',', '(', '\n']));
    let head = text[..equals].find(['?', ';', '#']).or(key);
    let Some(head) = head else {
        return match text.get(equals + 1..) {
            Some(values) => mask_items(text, Dialect::of_values(values)),
            None => mask_words(text),
        };
    };
    let mut out = mask_words(&text[..head]);
    let separator = text[head..].chars().next().unwrap_or(';');
    out.push(separator);
    let items = &text[head + separator.len_utf8()..];
    match separator {
        '#' => out + MASK,
        '?' => out + &mask_items(items, Dialect::By('&')),
        '\n' => out + &mask_items(items, Dialect::ByBlanks),
        c => out + &mask_items(items, Dialect::By(c)),
    }
}

/// What stands before pairs: one word that is an address.
fn mask_words(text: &str) -> String {
    let word = text.trim_end();
    match word.split_once(char::is_whitespace) {
        Some((first, _)) => mask_words(first) + " " + MASK,
        None if is_address(word) || word.starts_with('@') => text.to_owned(),
        None => match word.split_once(':') {
            Some((name, _)) => format!("{name}:{MASK}"),
            None => text.to_owned(),
        },
    }
}

/// Pairs, and what stands between them.
fn mask_items(text: &str, dialect: Dialect) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let end = match dialect.key(rest) {
            Some(key) => {
                let value = &rest[key.len() + 1..];
                out.push_str(shown_key(key));
                out.push('=');
                key.len() + 1 + mask_value(&mut out, dialect, key, value)
            }
            None => {
                let end = rest.find(|c| dialect.parts(c)).unwrap_or(rest.len());
                let is_blank = rest[..end].trim().is_empty();
                out.push_str(if is_blank { &rest[..end] } else { MASK });
                end
            }
        };
        rest = &rest[end..];
        if let Some(separator) = rest.chars().next() {
            out.push(separator);
            rest = &rest[separator.len_utf8()..];
        }
    }
    out
}

/// Of a key of several words only one of letters: others may be a secret's.
fn shown_key(key: &str) -> &str {
    let is_word = !key.trim().contains(char::is_whitespace);
    let is_of_letters = key.chars().all(|c| c.is_ascii_alphabetic() || c == ' ');
    if is_word || is_of_letters { key } else { MASK }
}

/// Writes a value, and returns its length.
fn mask_value(out: &mut String, dialect: Dialect, key: &str, value: &str) -> usize {
    if !is_harmless(key) {
        out.push_str(MASK);
        return dialect.end_of_secret(value);
    }
    let blanks = value.len() - value.trim_start().len();
    let end = value[blanks..].find(|c| dialect.parts(c));
    let end = end.map_or(value.len(), |end| blanks + end);
    let shown = &value[..end];
    let names_user = ["user", "uid"]
        .iter()
        .any(|name| key.to_ascii_lowercase().contains(name));
    let is_user_info = names_user && shown.contains(['/', ':']);
    if is_plain(shown) && !is_user_info {
        out.push_str(shown);
    } else {
        out.push_str(&masked_url(shown));
    }
    end
}

/// Whether a value can hold neither a user nor a query.
fn is_plain(value: &str) -> bool {
    !value.contains(['@', '?', '#', '=', '%']) && is_address(value.trim())
}

/// A URL without a password, and anything else not at all.
fn masked_url(value: &str) -> String {
    let is_url = value.contains("://") && !value.contains(['?', '#', '=', '%']);
    let address = Address::of(value).filter(|address| is_url && !address.is_unclear);
    match address {
        Some(address) if address.rest.matches('@').count() == 1 => address.before + address.rest,
        _ => MASK.to_owned(),
    }
}

/// Whether no colon stands before a secret: it is a drive's, a scheme's, one of
/// an IPv6 address, or before a port.
fn is_address(word: &str) -> bool {
    let is_scheme = |name: &str| SCHEMES.contains(&name.to_ascii_lowercase().as_str());
    let mut rest = word;
    while let Some((name, after)) = rest.split_once(':') {
        let port = after.split(['/', ',', '\\', ')', ':', ';', ']']).next();
        let is_port = port.is_some_and(|port| port.chars().all(|c| c.is_ascii_hexdigit()));
        let is_url = after.starts_with("//");
        let is_memory = after.starts_with("memory:");
        if !(is_port || is_url || is_memory || name.len() == 1 || is_scheme(name)) {
            return false;
        }
        rest = after;
    }
    true
}

/// What may stand before one colon and an address.
const SCHEMES: [&str; 12] = [
    "jdbc", "oracle", "thin", "h2", "mem", "sqlite", "file", "tcp", "np", "lpc", "admin", "unix",
];

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
            ("host=db password={s3;cr3t};user=me", "host=db password=***"),
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
                "mysql://me:***@db:3306/orders?user=***",
            ),
            (
                "mysql://db:3306/orders?user=me@srv&passwd=s3cr3t",
                "mysql://db:3306/orders?user=***&passwd=***",
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
                "host=db;app=***;w=1",
            ),
            ("token:s3cr3t host:db", "token:*** ***"),
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
            assert_eq!(masked(given), expected, "{given}");
        }
    }

    #[test]
    fn no_part_of_a_secret_is_shown() {
        for text in [
            "Server=db;Pwd=x&s3cr3t;Uid=me",
            "host=db user=me password=x&s3cr3t",
            "host=db user=me password=x;s3cr3t",
            "mysql://db/o?password=x;s3cr3t&ssl=on",
            "mysql://db/o?password=x,port=s3cr3t&ssl=on",
            "Driver=x;Pwd='ab's3cr3t;Uid=me",
            "Driver=x;Pwd={ab}s3cr3t;Uid=me",
            "mysql://db/o?password='ab's3cr3t",
            "Server=me:s3cr3t@db:3306;Database=o",
            "host=me:s3cr3t@db port=1",
            "Data Source=me/s3cr3t@//db:1521/o;",
            "endpoint=https%3A%2F%2Fme%3As3cr3t%40h",
            "Server=https://h/a?s3cr3t;Uid=me",
            "Server=https://h/a#s3cr3t",
            r#"{"host":"db","password":"s3cr3t"}"#,
            "host: db\npassword: s3cr3t\n",
            "password:'x s3cr3t' host:db",
            "token : s3cr3t",
            "novel:s3cr3t host:db",
            "mysql --password s3cr3t db",
            "mysql -u me -ps3cr3t db",
            "me:p@x;s3cr3t@tcp(db:3306)/o",
            "me:p@x?s3cr3t@tcp(db:3306)/o",
            "me:p@x s3cr3t@tcp(db:3306)/o",
            "mysql://me:p@x?s3cr3t@db/o",
            "mysql://me:12/s3cr3t@db/o",
            "mysql://me:/s3cr3t@db/o",
            "db/o?s3cr3t",
            "https://h/a?s3cr3t",
            "host=db user=me password=a;s3cr3t dbname=x",
            "host=db user=me password=a&s3cr3t dbname=x",
            "Server=db;User Id=me;Password=a&s3cr3t",
            "Server=db;User Id=me;Password=a&s3cr3t;Database=x",
            "Server=db;User Id=me;Password=a host=s3cr3t;Database=x",
            "Server=db;User Id=me;Password=\"a;s3cr3t\"",
            "Server=db;User Id=me;Password='a''s3cr3t'",
            "Server=db;User Id=me;Password={a;s3cr3t}",
            "postgresql://me:a&s3cr3t@db/x",
            "postgresql://me:1234/s3cr3t@db/x",
            "postgresql://db/x?password=a%26s3cr3t",
            "Server=db;AccountKey=s3cr3t==",
            "me/s3cr3t@//db:1521/x",
            "User Id=me/s3cr3t;Data Source=db",
            "Data Source=me/s3cr3t@db",
            "redis://:s3cr3t@db:1/0",
            "db:6379,password=s3cr3t,ssl=True",
            "db:6379,password=a,s3cr3t",
            "--password s3cr3t",
            "password s3cr3t",
            "Password:s3cr3t",
            "Password: s3cr3t",
            "\"password\": \"s3cr3t\"",
            "{\"password\":\"s3cr3t\"}",
            "Server=db;Pass word=s3cr3t",
            "Server=db;Pässword=s3cr3t",
            "Data Source=(DESCRIPTION=(HOST=db)(PORT=1));User Id=me;Password=s3cr3t",
            "mysql://me:a?s3cr3t=b@db",
            "Server=db;user=me password=s3cr3t",
        ] {
            let shown = masked(text);
            assert!(!shown.contains("cr3t"), "{text} -> {shown}");
        }
    }

    #[test]
    fn addresses_without_secrets_stay() {
        for text in [
            "postgresql://me@db:5432/orders?sslmode=require",
            "host=db port=5432 user=me dbname=orders",
            "Server=tcp:db.example,1433;Database=orders;Encrypt=True",
            "Server=[::1]:5432;Database=o",
            "[::1]:5432",
            "C:\\data\\o.db",
            "Data Source=C:\\data\\o.db;Mode=ReadOnly",
            "sqlite::memory:",
            "jdbc:h2:mem:test",
            "db:6379,other:6379,ssl=True",
            "mongodb://a:1,b:2/orders?w=majority",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
