//! What can be wrong with a configuration. Nothing else fails.

use crate::daemon_address::ParseDaemonAddressError;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The daemon's address has the wrong form.
    #[error("daemon address: {0}")]
    DaemonAddress(#[from] ParseDaemonAddressError),
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
