//! T-26: what is secret in URLs, connection strings, errors and headers is in no
//! datagram, no `Debug` text and no log line.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use xray_core::{Class, ExceptionReport, HttpRequest, Namespace, Sql, TraceHeader};
use xray_local::Daemon;
use xray_tests::{accepted, balance, nobody, sends_to};

const MARK: &str = "s3cr3t-7f3a91";
const LONG: Duration = Duration::from_secs(20);

/// `$` stands for the secret.
const URLS: &[&str] = &[
    "https://me:$@shop.example/a",
    "https://me:$@shop.example",
    "https://me:$@shop.example:8443/a?b=c",
    "https://$@shop.example/a",
    "https://$:x-oauth-basic@shop.example/a",
    "https://me:a/$@shop.example/a",
    "https://me:$/b@shop.example/a",
    "https://me:a?$@shop.example/a",
    "https://me:$?b@shop.example/a",
    "https://me:a#$@shop.example/a",
    "https://me:$#b@shop.example/a",
    "https://me:a@$@shop.example/a",
    "https://me:$@b@shop.example/a",
    "https://me:a:$@shop.example/a",
    "https://me:a\\$@shop.example/a",
    "https://me:$ b@shop.example/a",
    "https://me:%40$@shop.example/a",
    "https://me:$@[::1]:8080/a",
    "https://me:$@[::1]/a",
    "HTTPS://me:$@shop.example/a",
    "https:/me:$@shop.example/a",
    "https:\\\\me:$@shop.example\\a",
    "https:///me:$@shop.example/a?$",
    "//me:$@shop.example/a",
    "me:$@shop.example:443",
    "me:$@shop.example/a",
    "me:a/$@shop.example/a",
    "https://me:$",
    "https://me:a/$",
    "https://shop.example/a?token=$",
    "https://shop.example/a?a=b&token=$&c=d",
    "https://shop.example/a?$",
    "https://shop.example?$",
    "https://shop.example#$",
    "https://shop.example/a#access_token=$",
    "https://shop.example/a#?$",
    "https://shop.example/a?a#$",
    "https://shop.example/a?a?$",
    "https://shop.example/a?u=https://me:$@other.example/",
    "https://shop.example/a;jsessionid=$",
    "https://shop.example/a;JSESSIONID=$?b=c",
    "https://shop.example/a;jsessionid=$/b",
    "/a?token=$",
    "/a#$",
    "/a;jsessionid=$",
    "?token=$",
    "#$",
    "*?$",
    "https://bucket.s3.amazonaws.com/k?X-Amz-Signature=$&X-Amz-Security-Token=$",
    "https://a.blob.core.windows.net/c?sv=1&sig=$",
    "https://hooks.example/a?code=$&state=$",
    "wss://me:$@shop.example/socket?key=$",
    "ftp://me:$@shop.example/a",
    "http://me:$@localhost:80",
    "/proxy/http://me:$@shop.example/a",
    "https://shop.example/ä?ö=$",
    "https://mé:$@shop.example/ä",
    "https://shop.example/to/https:/me:$@other.example/",
    "/to/https:/me:$@other.example/",
    "https://shop.example/to/https%3A%2F%2Fme%3A$%40other.example%2F",
    "/to/https%3a%2f%2fme%3a$%40other.example",
    "/to/https%3A%2F%2Fother.example%2F%3Ftoken%3D$",
    "/to/https%253A%252F%252Fme%253A$%2540other.example",
    "https://shop.example/a;token=$",
    "https://shop.example/a;b=c;access_token=$/d",
    "https://me:12/$@h/a",
    "https://me:p@x/$@h/a",
    "https://h/a%3Ftoken=$",
    "https://h/a%3Btoken=$",
    "https://h/to/https:%2F%2Fme:$@h",
    "https://h/to/https:%2F%2Fh%2F%3Ftoken=$",
    "https://h/to/postgres%3A//me:$@h",
    "https://h/to/me:$@h",
];

/// Keys whose values are secret.
const KEYS: &[&str] = &[
    "password",
    "Password",
    "PASSWORD",
    "Pwd",
    "passwd",
    "user_password",
    "User Password",
    "sslpassword",
    "trustStorePassword",
    "pass",
    "passphrase",
    "secret",
    "client_secret",
    "clientSecret",
    "aws_secret_access_key",
    "SecretKey",
    "token",
    "access_token",
    "refresh-token",
    "sessionToken",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "AccountKey",
    "SharedAccessKey",
    "SharedAccessSignature",
    "Shared Access Key",
    "accessKeyId",
    "api_key",
    "ApiKey",
    "private_key",
    "Authorization",
    "Column Encryption Key",
    "key",
    "crypt_key",
    "OAuthPvtKey",
    "AwsCredentialsProviderArguments",
    "authMechanismProperties",
    "private_key_base64",
    "novel",
];

/// Where a key (`@`) and its value stand.
const PAIRS: &[&str] = &[
    "@=$",
    "@=$;",
    "Server=db;@=$;Database=orders",
    "Server = db ; @ = $ ; Database = orders",
    "Server=db;@='$;b';Database=orders",
    "Server=db;@=\"a;$\";Database=orders",
    "Server=db;@={a;$};Database=orders",
    "Server=db;@={a}}$};Database=orders",
    "Server=db;@='a''$';Database=orders",
    "Server=db;@=a $ b;Database=orders",
    "host=db @=$ dbname=orders",
    "host=db @='a $' dbname=orders",
    "host=db @='a\\' $' dbname=orders",
    "host=db @ = $ dbname=orders",
    "postgresql://db:5432/orders?@=$",
    "jdbc:mysql://db:3306/orders?user=me&@=$&useSSL=true",
    "jdbc:sqlserver://db:1433;user=me;@=$;encrypt=true",
    "jdbc:sqlserver://db/orders;user=me;@=$;encrypt=true",
    "jdbc:sqlserver://db:1433;user=me;@={a;$};encrypt=true",
    "host=db,port=1,@=$,ssl=true",
    "host=db\n@=$\nport=1",
];

/// Passwords that stand before a host, and wherever else no pair shows them.
const USERS: &[&str] = &[
    "postgresql://me:$@db:5432/orders",
    "postgres://me:$@db",
    "postgresql://me:a/$@db/orders",
    "postgresql://me:$/b@db/orders",
    "postgresql://me:a?$@db/orders",
    "postgresql://me:$?b@db/orders",
    "postgresql://me:a@$@db/orders",
    "postgresql://me:a#$@db/orders",
    "postgresql://me:a:$@db/orders",
    "postgresql://me:$@db1:1,db2:2/orders",
    "jdbc:postgresql://me:$@db/orders",
    "mysql+pymysql://me:$@db/orders?charset=utf8",
    "mongodb+srv://me:$@cluster.example/orders?w=majority",
    "redis://:$@db:6379/0",
    "rediss://default:$@db:6379",
    "amqp://me:$@mq:5672/%2f",
    "sqlserver://me:$@db:1433?database=orders",
    "me:$@tcp(db:3306)/orders",
    "me:$@tcp(db:3306)/orders?parseTime=true",
    "me:$@unix(/var/run/mysqld.sock)/orders",
    "me:a/$@tcp(db:3306)/orders",
    "me:a@$@tcp(db:3306)/orders",
    "scott/$@db:1521/orders",
    "scott/$@//db:1521/orders",
    "jdbc:oracle:thin:scott/$@db:1521:orders",
    "jdbc:oracle:thin:scott/$@//db:1521/orders",
    "snowflake://me:$@account/db/schema?warehouse=w",
    "clickhouse://default:$@db:9000/orders",
    "tcp://db:9000?username=me&password=$",
    "Endpoint=sb://bus.example/;SharedAccessKeyName=a;SharedAccessKey=$",
    "Endpoint=sb://bus.example/;Server=tcp://me:$@db:1",
    "sqlite:///o.db?key=$",
    "Server=db;AwsCredentialsProviderArguments=AKIA,$",
    "mongodb://db/?authMechanismProperties=AWS_SESSION_TOKEN:$",
    "host=db;app=AWS_SESSION_TOKEN:$;port=1",
    "Server=db;Pwd=x&$;Uid=me",
    "host=db user=me password=x&$",
    "host=db user=me password=x;$",
    "mysql://db/o?password=x;$&ssl=on",
    "mysql://db/o?password=x,port=$&ssl=on",
    "Driver=x;Pwd='ab'$;Uid=me",
    "Driver=x;Pwd={ab}$;Uid=me",
    "mysql://db/o?password='ab'$",
    "Server=me:$@db:3306;Database=o",
    "host=me:$@db port=1",
    "Data Source=me/$@//db:1521/o;",
    "endpoint=https%3A%2F%2Fme%3A$%40h",
    "Server=https://h/a?$;Uid=me",
    "Server=https://h/a#$",
    r#"{"host":"db","password":"$"}"#,
    "host: db\npassword: $\n",
    "password:'x $' host:db",
    "token : $",
    "novel:$ host:db",
    "mysql --password $ db",
    "mysql -u me -p$ db",
    "me:p@x;$@tcp(db:3306)/o",
    "me:p@x?$@tcp(db:3306)/o",
    "me:p@x $@tcp(db:3306)/o",
    "mysql://me:p@x?$@db/o",
    "mysql://me:12/$@db/o",
    "mysql://me:/$@db/o",
    "db/o?$",
    "https://h/a?$",
    "host=db user=me password=a;$ dbname=x",
    "host=db user=me password=a&$ dbname=x",
    "Server=db;User Id=me;Password=a&$",
    "Server=db;User Id=me;Password=a&$;Database=x",
    "Server=db;User Id=me;Password=a host=$;Database=x",
    "Server=db;User Id=me;Password=\"a;$\"",
    "Server=db;User Id=me;Password='a''$'",
    "Server=db;User Id=me;Password={a;$}",
    "postgresql://me:a&$@db/x",
    "postgresql://me:1234/$@db/x",
    "postgresql://db/x?password=a%26$",
    "Server=db;AccountKey=$==",
    "me/$@//db:1521/x",
    "User Id=me/$;Data Source=db",
    "Data Source=me/$@db",
    "redis://:$@db:1/0",
    "db:6379,password=$,ssl=True",
    "db:6379,password=a,$",
    "--password $",
    "password $",
    "Password:$",
    "Password: $",
    "\"password\": \"$\"",
    "{\"password\":\"$\"}",
    "Server=db;Pass word=$",
    "Server=db;Pässword=$",
];

/// How an error may show a URL.
const ERRORS: &[&str] = &[
    "error sending request for url (@)",
    "cannot connect to @: refused",
    "ConnectError { url: \"@\", attempts: 3 }",
    "@",
];

/// What an error may say of a URL in other forms.
const MESSAGES: &[&str] = &[
    r#"GET http://h/p?f={"token":"$"} failed"#,
    r#"GET http://h/p?f="$" failed"#,
    "GET http://h/p?f=<$> failed",
    "no route for /7?token=$",
    "GET /k?X-Amz-Signature=$ is 403",
    "b.s3.amazonaws.com/k?X-Amz-Signature=$ is 403",
    "//h/a?token=$ refused",
    "//me:$@h/a refused",
    "proxy me:$@proxy:8080 refused",
    "jdbc:oracle:thin:me/$@//db:1521/o refused",
    "jdbc:oracle:thin:me/$@db:1521:o refused",
    "https:me:$@h/a",
    "file:/a?token=$",
    "urn:x?token=$",
    r#"{"url":"https:\/\/me:$@h\/a"}"#,
    r#"{"url":"postgres:\/\/me:$@db\/o"}"#,
    r#"{"url":"redis:\/\/:$@db\/0"}"#,
    "to https%3A%2F%2Fme%3A$%40h%2F failed",
    "redirect_uri=https%3A%2F%2Fh%2F%3Ftoken%3D$ failed",
    "at https://me:pa $@h/a now",
    "at https://me:p@ss $@h/a now",
    "at https://me:12 $@h/a now",
    "at https://me:pa\n$@h/a now",
    "at https://u:123 $@h/a",
    "at https://u:123/$@h/a",
    "at https://h/a?q={\"t\":\"$\"} failed",
    "at https://h/a?q=<$>",
    "at https://h/a?q=a`$",
    "at https://h/a?q='$'",
    "at https://h/a#$",
    "at https://h/a?q=[$]",
    "at https://h/a?q=a|$",
    "at https://h/a?q=a,https://x/?b=$",
    "at HTTPS://u:$@h",
    "at https:u:$@h",
    "at https:///u:$@h",
    "at https:/\\u:$@h",
    "at https%3A//u:$@h",
    "at https://$@h",
    "at //u:$@h/a",
    "at u:$@h:80/a",
    "at /a?token=$",
    "at h.example/a?X-Amz-Signature=$",
    "at amqp://u:$@h",
    "at postgres://u:p\n$@h",
    "at mailto:u?body=$",
    "at https://h/a\\?q=$",
    "at https://h/a%3Fq=$",
    "at https://h:443?$",
    "at https://[::1]?$",
    "at https://u:[$]@h",
    "at https://u:($)@h)",
    "at https://h/;token=$",
    "at wss:/h?$",
];

/// An error with a source, both of which show something.
#[derive(Debug)]
struct Shows(String, Option<Box<Self>>);

impl std::fmt::Display for Shows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Shows {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

/// Records a text in every way that takes an exception.
fn record_text(segment: &xray_core::Segment, text: &str) {
    let shows = |source| Shows(text.to_owned(), source);
    segment.record_fault(&shows(Some(Box::new(shows(None)))));
    let anyhow = Box::<dyn std::error::Error>::from(text);
    segment.begin_subsegment("boxed").record_error(&anyhow);
    let payload: Box<dyn std::any::Any + Send> = Box::new(text.to_owned());
    segment.begin_subsegment("panic").record_panic(&payload);
    let report = ExceptionReport::new(text, text).frame(text, 1, text);
    segment
        .begin_subsegment("report")
        .report_exception(&report, Class::Fault);
    segment.metadata("refused", Refuses(text));
}

/// A value whose `Serialize` fails, and says why.
struct Refuses<'a>(&'a str);

impl serde::Serialize for Refuses<'_> {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(self.0))
    }
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps every line of anybody's.
struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn filled(templates: &[&str]) -> Vec<String> {
    let all = templates.iter();
    all.map(|template| template.replace('$', MARK)).collect()
}

#[test]
fn a_marker_in_each_secret_place_comes_out_nowhere() {
    log::set_logger(&Lines).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let urls = filled(URLS);
    let pairs = KEYS
        .iter()
        .flat_map(|key| PAIRS.iter().map(move |pair| pair.replace('@', key)));
    let pairs: Vec<String> = pairs.map(|pair| pair.replace('$', MARK)).collect();
    let users = filled(USERS);
    assert!(urls.len() + pairs.len() + users.len() >= 200);

    let daemon = Daemon::start().unwrap();
    let recorder = sends_to(daemon.address()).build().unwrap();
    let mut told = String::new();
    for url in &urls {
        let segment = recorder.begin_segment("shop");
        let request = HttpRequest::new("GET", url);
        told += &format!("{request:?}{request:#?}\n");
        segment.http_request(&request);
        let call = segment.subsegment("call").namespace(Namespace::Remote);
        told += &format!("{call:?}\n");
        let call = call.begin();
        call.http_request(&request);
        told += &format!("{segment:?}{call:?}{recorder:?}\n");
    }
    for text in pairs.iter().chain(&users) {
        let segment = recorder.begin_segment("shop");
        let query = segment.begin_subsegment("orders@db");
        let sql = Sql::new().connection_string(text.as_str());
        told += &format!("{sql:?}{sql:#?}\n");
        query.sql(&sql);
        let query = segment.begin_subsegment("orders@db");
        let sql = Sql::new().url(text);
        told += &format!("{sql:?}\n");
        query.sql(&sql);
    }
    // Where a URL is shown with its scheme, in a sentence.
    let shown = urls
        .iter()
        .filter(|url| url.contains("://") && url.starts_with(|c: char| c.is_alphabetic()));
    let errors: Vec<String> = shown
        .flat_map(|url| ERRORS.iter().map(move |error| error.replace('@', url)))
        .chain(filled(MESSAGES))
        .collect();
    assert!(errors.len() > 150, "{}", errors.len());
    for text in &errors {
        record_text(&recorder.begin_segment("shop"), text);
    }
    // What callers send along goes on in headers, as it must, and nowhere else.
    let header = TraceHeader::parse(format!("Self={MARK};k={MARK};Lineage={MARK}"));
    recorder.segment("shop").header(&header).begin().close();
    // A query with its values is recorded as given, but never shown otherwise.
    told += &format!("{:?}\n", Sql::new().sanitized_query(MARK).user(MARK));
    assert!(recorder.flush(LONG).wait().is_complete());
    balance(&recorder);
    let sent = urls.len() + pairs.len() + users.len() + errors.len() + 1;
    assert_eq!(recorder.documents().sent, sent as u64);
    let received = accepted(&daemon, sent).into_iter();
    let leaks: Vec<String> = received
        .map(|received| String::from_utf8(received.bytes).unwrap())
        .filter(|text| text.contains(MARK))
        .collect();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    // Lines of ours: a refusal, a loss, a wrong variable.
    let lost = sends_to(nobody().unwrap())
        .queue_limits(1, 1 << 20)
        .build()
        .unwrap();
    for url in &urls {
        let segment = lost.begin_segment("shop");
        segment.http_request(&HttpRequest::new("GET", url));
    }
    let _ = lost.shutdown(Duration::from_millis(50)).wait();
    let lines = LINES.lock().unwrap().join("\n");
    assert!(
        lines.contains("nobody listens at") && lines.contains("documents lost"),
        "{lines}"
    );
    for line in told.lines().chain(lines.lines()) {
        assert!(!line.contains(MARK), "{line}");
    }
    // What is no secret is still there.
    let kept = daemon.documents();
    let url_of = |at: usize| kept[at].http.clone().unwrap().request.unwrap().url;
    assert_eq!(url_of(0).as_deref(), Some("https://shop.example/a"));
    let sql = kept[urls.len() + 2].subsegments[0].sql.clone().unwrap();
    let expected = "Server=db;password=***;Database=orders";
    assert_eq!(sql.connection_string.as_deref(), Some(expected));
}
