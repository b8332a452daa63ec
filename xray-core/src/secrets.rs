//! Names of values: those that keep a secret, and those that keep none.

/// Stands in the name of a secret, in the form of [`plain`].
const SECRET_PARTS: [&str; 11] = [
    "key",
    "secret",
    "token",
    "credential",
    "passw",
    "passphrase",
    "passcode",
    "pwd",
    "signature",
    "authorization",
    "session",
];

/// The whole name of a secret, or its end.
const SECRET_ENDS: [&str; 4] = ["pass", "sig", "sid", "auth"];

/// The whole name of a setting that a reader may see: where a database is, who
/// uses it, and how the connection behaves.
const HARMLESS: &[&str] = &[
    // where
    "host",
    "hostname",
    "hostaddr",
    "server",
    "servername",
    "serveraddress",
    "datasource",
    "address",
    "addresslist",
    "addr",
    "networkaddress",
    "port",
    "portnumber",
    "endpoint",
    "endpointsuffix",
    "defaultendpointsprotocol",
    "entitypath",
    "region",
    "cluster",
    "clusteridentifier",
    "unixsocket",
    "filename",
    // which database
    "database",
    "databasename",
    "db",
    "dbname",
    "initialcatalog",
    "catalog",
    "schema",
    "currentschema",
    "defaultschema",
    "searchpath",
    "keyspace",
    "service",
    "servicename",
    "instance",
    "instancename",
    "description",
    "connectdata",
    "sid",
    "warehouse",
    // who
    "user",
    "username",
    "userid",
    "uid",
    "role",
    "accountname",
    "sharedaccesskeyname",
    "applicationname",
    "application",
    "appname",
    "app",
    "fallbackapplicationname",
    "applicationintent",
    "programname",
    "workstationid",
    // by which driver
    "driver",
    "provider",
    "dialect",
    "protocol",
    "transporttype",
    // how safely
    "ssl",
    "sslmode",
    "usessl",
    "requiressl",
    "sslnegotiation",
    "tls",
    "encrypt",
    "trustservercertificate",
    "trustedconnection",
    "integratedsecurity",
    "persistsecurityinfo",
    "channelbinding",
    "gssencmode",
    "authmechanism",
    "authsource",
    // how long, how many
    "timeout",
    "connecttimeout",
    "connectiontimeout",
    "connecttimeoutms",
    "commandtimeout",
    "logintimeout",
    "sockettimeout",
    "sockettimeoutms",
    "serverselectiontimeoutms",
    "statementtimeout",
    "locktimeout",
    "keepalives",
    "keepalivesidle",
    "tcpkeepalive",
    "pooling",
    "minpoolsize",
    "maxpoolsize",
    "poolsize",
    "maxconnections",
    "connectionlifetime",
    "packetsize",
    // how
    "charset",
    "characterencoding",
    "clientencoding",
    "encoding",
    "collation",
    "language",
    "loc",
    "timezone",
    "servertimezone",
    "parsetime",
    "mode",
    "cache",
    "immutable",
    "compression",
    "targetsessionattrs",
    "loadbalancehosts",
    "multisubnetfailover",
    "multipleactiveresultsets",
    "failoverpartner",
    "replicaset",
    "readpreference",
    "readonly",
    "retrywrites",
    "retryreads",
    "directconnection",
    "w",
];

/// Whether a name says that its value is a secret. Rather one too many.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = plain(name);
    SECRET_PARTS.iter().any(|part| name.contains(part))
        || SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether a name is known to have a value without a secret.
pub(crate) fn is_harmless(name: &str) -> bool {
    HARMLESS.contains(&plain(name).as_str())
}

/// A name without case, blanks, `_`, `-` and `.`.
fn plain(name: &str) -> String {
    let letters = name
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '.'));
    letters.map(|c| c.to_ascii_lowercase()).collect()
}
