//! The operator's variables: each one read here and nowhere else.
//!
//! Source: [configuring the SDKs](https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-python-configuration.html#xray-sdk-python-configuration-envvars).

use std::ffi::OsString;

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
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut read = Self::default();
        if let Some(text) = read.text("AWS_XRAY_DAEMON_ADDRESS", &lookup) {
            match text.parse() {
                Ok(address) => read.daemon_address = Some(address),
                Err(error) => read.wrong.push(ConfigError::DaemonAddress(error)),
            }
        }
        read.tracing_name = read.text("AWS_XRAY_TRACING_NAME", &lookup);
        read.enabled = read.switch("AWS_XRAY_SDK_ENABLED", &lookup);
        if read.switch("AWS_XRAY_SDK_DISABLED", &lookup) == Some(true) {
            read.enabled = Some(false);
        }
        let variable = "AWS_XRAY_CONTEXT_MISSING";
        if let Some(text) = read.text(variable, &lookup) {
            match text.to_ascii_uppercase().as_str() {
                "LOG_ERROR" => read.context_missing = Some(ContextMissing::Log),
                "IGNORE_ERROR" => read.context_missing = Some(ContextMissing::Ignore),
                "RUNTIME_ERROR" => read.context_missing = Some(ContextMissing::Panic),
                _ => read.wrong(variable, &text, "LOG_ERROR, IGNORE_ERROR or RUNTIME_ERROR"),
            }
        }
        read
    }

    /// The value of a variable, if it is set.
    fn text(
        &mut self,
        variable: &'static str,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Option<String> {
        match lookup(variable)?.into_string() {
            Ok(text) => Some(text).filter(|text| !text.is_empty()),
            Err(bytes) => {
                self.wrong(variable, &bytes.to_string_lossy(), "UTF-8");
                None
            }
        }
    }

    /// The value of a variable that is true or false.
    fn switch(
        &mut self,
        variable: &'static str,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Option<bool> {
        let text = self.text(variable, lookup)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
            _ => {
                self.wrong(variable, &text, "true or false");
                None
            }
        }
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
            found.map(|variable| variable.1.into())
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
    fn both_switches_take_the_same_words() {
        let (on, off) = ("AWS_XRAY_SDK_ENABLED", "AWS_XRAY_SDK_DISABLED");
        for text in ["true", "T", "yes", "Y", "On", "1"] {
            assert_eq!(read(&[(on, text)]).enabled, Some(true), "{text}");
            assert_eq!(read(&[(off, text)]).enabled, Some(false), "{text}");
            let both = read(&[(on, text), (off, text)]);
            assert_eq!(both.enabled, Some(false), "{text}");
        }
        for text in ["false", "F", "no", "N", "Off", "0"] {
            assert_eq!(read(&[(on, text)]).enabled, Some(false), "{text}");
            assert_eq!(read(&[(off, text)]).enabled, None, "{text}");
        }
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

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf8_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let read = Environment::read(|_| Some(OsString::from_vec(b"xray:2000\xff".to_vec())));
        let told: Vec<String> = read.wrong.iter().map(ToString::to_string).collect();
        let expected = [
            "AWS_XRAY_DAEMON_ADDRESS",
            "AWS_XRAY_TRACING_NAME",
            "AWS_XRAY_SDK_ENABLED",
            "AWS_XRAY_SDK_DISABLED",
            "AWS_XRAY_CONTEXT_MISSING",
        ]
        .map(|variable| format!("{variable} is `xray:2000\\u{{fffd}}`, expected UTF-8"));
        assert_eq!(told, expected);
        assert_eq!((read.daemon_address, read.tracing_name), (None, None));
    }
}
