//! The operator's variables: each one read here and nowhere else.
//!
//! Source: [configuring the SDKs](https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-python-configuration.html#xray-sdk-python-configuration-envvars).

use crate::context::ContextMissing;
use crate::daemon_address::DaemonAddress;
use crate::error::ConfigError;
use crate::text::escaped_beginning;

/// What the environment says. An empty value counts as unset; a wrong one is
/// skipped and reported.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// `AWS_XRAY_DAEMON_ADDRESS`
    pub(crate) daemon_address: Option<DaemonAddress>,
    /// `AWS_XRAY_TRACING_NAME`
    pub(crate) tracing_name: Option<String>,
    /// `AWS_XRAY_SDK_ENABLED`, `AWS_XRAY_SDK_DISABLED`; the latter wins.
    pub(crate) enabled: Option<bool>,
    /// `AWS_XRAY_CONTEXT_MISSING`
    pub(crate) context_missing: Option<ContextMissing>,
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
        if let Some(text) = value("AWS_XRAY_SDK_ENABLED") {
            match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "on" | "1" => read.enabled = Some(true),
                "false" | "f" | "no" | "n" | "off" | "0" => read.enabled = Some(false),
                _ => read.wrong("AWS_XRAY_SDK_ENABLED", &text, "true or false"),
            }
        }
        if let Some(text) = value("AWS_XRAY_SDK_DISABLED") {
            match text.to_ascii_lowercase().as_str() {
                "true" => read.enabled = Some(false),
                "false" => {}
                _ => read.wrong("AWS_XRAY_SDK_DISABLED", &text, "true or false"),
            }
        }
        if let Some(text) = value("AWS_XRAY_CONTEXT_MISSING") {
            match text.to_ascii_uppercase().as_str() {
                "LOG_ERROR" => read.context_missing = Some(ContextMissing::Log),
                "IGNORE_ERROR" => read.context_missing = Some(ContextMissing::Ignore),
                "RUNTIME_ERROR" => read.context_missing = Some(ContextMissing::Panic),
                _ => read.wrong(
                    "AWS_XRAY_CONTEXT_MISSING",
                    &text,
                    "LOG_ERROR, IGNORE_ERROR or RUNTIME_ERROR",
                ),
            }
        }
        read
    }

    fn wrong(&mut self, variable: &'static str, text: &str, expected: &'static str) {
        self.wrong.push(ConfigError::Variable {
            variable,
            given: escaped_beginning(text),
            expected,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            let found = variables.iter().find(|variable| variable.0 == name);
            found.map(|variable| variable.1.to_owned())
        })
    }

    #[test]
    fn each_variable_is_read() {
        let read = read(&[
            ("AWS_XRAY_DAEMON_ADDRESS", "xray:2000"),
            ("AWS_XRAY_TRACING_NAME", "shop"),
            ("AWS_XRAY_SDK_ENABLED", "True"),
            ("AWS_XRAY_CONTEXT_MISSING", "runtime_error"),
        ]);
        assert_eq!(read.daemon_address, "xray:2000".parse().ok());
        assert_eq!(read.tracing_name.as_deref(), Some("shop"));
        assert_eq!(read.enabled, Some(true));
        assert_eq!(read.context_missing, Some(ContextMissing::Panic));
        assert!(read.wrong.is_empty());
    }

    #[test]
    fn either_switch_turns_everything_off() {
        for (off, text) in [
            ("AWS_XRAY_SDK_ENABLED", "off"),
            ("AWS_XRAY_SDK_DISABLED", "TRUE"),
        ] {
            assert_eq!(read(&[(off, text)]).enabled, Some(false));
        }
        let both = read(&[
            ("AWS_XRAY_SDK_ENABLED", "1"),
            ("AWS_XRAY_SDK_DISABLED", "true"),
        ]);
        assert_eq!(both.enabled, Some(false));
    }

    #[test]
    fn an_empty_value_is_unset_and_a_wrong_one_is_named() {
        for name in [
            "AWS_XRAY_DAEMON_ADDRESS",
            "AWS_XRAY_SDK_ENABLED",
            "AWS_XRAY_SDK_DISABLED",
            "AWS_XRAY_CONTEXT_MISSING",
        ] {
            assert!(read(&[(name, "")]).wrong.is_empty());
            let wrong = read(&[(name, "per\u{1b}haps")]).wrong;
            let text = wrong[0].to_string();
            assert!(text.contains("per\\u{1b}haps"), "{text}");
        }
    }
}
