//! Secrets in URLs and connection strings.

use xray_core::{Capture, HttpRequest, Sql};

use super::bytes::Bytes;
use super::tree::{settled, strictly};

/// A marker in any place of a URL or a connection string that holds secrets,
/// with any text around it, is in no document and no `Debug` text; and no text
/// at all gives a document that anybody refuses.
pub fn url_scrub(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let kind = bytes.byte() % 8;
    let (url, sql) = match kind {
        // Any text: there is nothing to be found, but nothing may break.
        0 => {
            let text = String::from_utf8_lossy(bytes.rest()).into_owned();
            (text.clone(), text)
        }
        1 | 2 => (user_info(&mut bytes), String::new()),
        3 => (query(&mut bytes), String::new()),
        4 | 5 => (String::new(), pairs(&mut bytes)),
        _ => {
            let url = database(&mut bytes);
            (url.clone(), url)
        }
    };
    let capture = Capture::new(65_474);
    let Ok(recorder) = settled(capture.clone()).0.build() else {
        return; // no setting in use can be wrong
    };
    let segment = recorder.begin_segment("fuzz");
    let request = HttpRequest::new("GET", &url);
    segment.http_request(&request);
    let query = Sql::new().url(&sql);
    segment.begin_subsegment("url").sql(&query);
    let other = Sql::new().connection_string(&sql);
    segment.begin_subsegment("query").sql(&other);
    let mut told = format!("{request:?}{query:?}{other:?}{segment:?}");
    segment.close();
    for json in capture.json() {
        strictly(&json);
        told += &String::from_utf8_lossy(&json);
    }
    assert!(kind == 0 || !told.contains(MARK), "{url} {sql} {told}");
}

const MARK: &str = "s3cr3t-7f3a91";

/// A text with the marker in it, without what would end it there.
fn secret(bytes: &mut Bytes<'_>, ends: &[char]) -> String {
    let without = |text: String| text.replace(ends, "");
    let (before, behind) = (without(bytes.text()), without(bytes.text()));
    format!("{before}{MARK}{behind}")
}

/// A password in front of a host. It may hold, unescaped, what ends an
/// authority, but then it must not begin like a port, as nobody could tell.
fn user_info(bytes: &mut Bytes<'_>) -> String {
    let scheme = ["https://", "HTTP://", "//", "ws://", "https:\\\\"][bytes.below(5)];
    let ends = ['/', '\\', '?', '#', '@', ':', '[', ']'];
    let user = bytes.text().replace(ends, "");
    let odd = if bytes.flag() { "" } else { "x" };
    let password = if odd.is_empty() {
        secret(bytes, &ends[..4])
    } else {
        secret(bytes, &['@'])
    };
    let host = ["shop.example", "[::1]:80", "shop.example:443"][bytes.below(3)];
    let path = bytes.text().replace('@', "");
    format!("{scheme}{user}:{odd}{password}@{host}/{path}")
}

/// Whatever is asked for, and the session.
fn query(bytes: &mut Bytes<'_>) -> String {
    let scheme = ["https://shop.example", "", "shop.example:80", "*"][bytes.below(4)];
    // With a password in it nobody could tell where that ends.
    let path = bytes.text().replace(['?', '#', ':', '@'], "");
    let sign = ["?", "#", ";jsessionid=", ";JSESSIONID=", "?a=b&c#"][bytes.below(5)];
    let secret = secret(bytes, &[':']);
    format!("{scheme}/p{path}{sign}{secret}")
}

/// The value of a secret key among other pairs.
fn pairs(bytes: &mut Bytes<'_>) -> String {
    let keys = [
        "password",
        "Pwd",
        "User Password",
        "client_secret",
        "AccountKey",
        "api-key",
        "sslpassword",
        "refresh.token",
    ];
    let key = keys[bytes.below(keys.len())];
    let separator = [";", "&", ",", "\n", " ", "; "][bytes.below(6)];
    let (blank, quote) = (bytes.byte(), bytes.byte());
    let equals = ["=", " = ", "= ", "\t="][usize::from(blank % 4)];
    // What ends a value depends on how it is quoted.
    let value = match quote % 4 {
        0 => secret(
            bytes,
            &[';', '&', ',', ' ', '\t', '\n', '\r', '\'', '"', '{'],
        ),
        1 => format!("'{}'", secret(bytes, &['\'', '\\'])),
        2 => format!("\"{}\"", secret(bytes, &['"', '\\'])),
        _ => format!("{{{}}}", secret(bytes, &['}', '\\'])),
    };
    let plain = |text: String| text.replace(['=', '\'', '"', '{'], "");
    let (before, behind) = (plain(bytes.text()).replace('@', ""), plain(bytes.text()));
    format!("Server={before}{separator}{key}{equals}{value}{separator}Database={behind}")
}

/// A password in a database's URL, or in what stands for one.
fn database(bytes: &mut Bytes<'_>) -> String {
    let scheme = [
        "postgresql://",
        "mysql+pymysql://",
        "jdbc:x://",
        "redis://",
        "",
    ];
    let scheme = scheme[bytes.below(scheme.len())];
    let user = bytes.text().replace(ENDS, "");
    let password = secret(bytes, &ENDS);
    let host = ["db:5432", "tcp(db:3306)", "db1:1,db2:2", "[::1]:80"][bytes.below(4)];
    let name = bytes.text().replace('@', "");
    format!("{scheme}{user}:{password}@{host}/{name}")
}

/// What a driver would not take in a user or password as it is.
const ENDS: [char; 11] = ['/', '\\', '?', '#', '@', ':', ' ', ';', '=', '[', ']'];
