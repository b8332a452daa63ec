//! What can be wrong with a configuration. Recording never fails.

use crate::daemon_address::ParseDaemonAddressError;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The daemon's address has the wrong form.
    #[error("daemon address: {0}")]
    DaemonAddress(#[from] ParseDaemonAddressError),
    /// An environment variable has a value it cannot have.
    #[error("{variable} is `{given}`, expected {expected}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// Its value, escaped and cut at 100 characters.
        given: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A document's limit is out of bounds.
    #[error("document limit of {given} bytes: must be from {min} to {max}")]
    DocumentLimit {
        /// What was asked for.
        given: usize,
        /// The least that can be asked for.
        min: usize,
        /// The most a datagram carries.
        max: usize,
    },
    /// The name of the service is empty.
    #[error("the service needs a name")]
    EmptyName,
    /// The emission thread could not be started.
    #[error("the emission thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
}
