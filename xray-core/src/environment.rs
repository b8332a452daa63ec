//! The operator's variables: each one read here and nowhere else.

use crate::daemon_address::DaemonAddress;
use crate::error::ConfigError;

/// What the environment says. An empty value counts as unset; a wrong one is
/// skipped and reported.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// `AWS_XRAY_DAEMON_ADDRESS`
    pub(crate) daemon_address: Option<DaemonAddress>,
    /// `AWS_XRAY_TRACING_NAME`
    pub(crate) tracing_name: Option<String>,
    pub(crate) wrong: Vec<ConfigError>,
}

impl Environment {
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut read = Self::default();
        let value = |name| lookup(name).filter(|value| !value.is_empty());
        if let Some(text) = value("AWS_XRAY_DAEMON_ADDRESS") {
            match text.parse() {
                Ok(address) => read.daemon_address = Some(address),
                Err(error) => read.wrong.push(ConfigError::DaemonAddress(error)),
            }
        }
        read.tracing_name = value("AWS_XRAY_TRACING_NAME");
        read
    }
}
