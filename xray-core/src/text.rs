//! Texts this crate wrote or checked itself: always ASCII, held inline. And what
//! of another's text stands in an error.

/// Text that this crate wrote or checked itself, so always ASCII.
pub(crate) fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

/// The first 100 characters of a setting, such as can stand in a log line.
pub(crate) fn escaped_beginning(text: &str) -> String {
    let beginning = text.chars().take(100);
    beginning.flat_map(char::escape_default).collect()
}

/// Makes a type with a method `bytes(&self) -> &[u8]` read as a `str`.
macro_rules! reads_as_str {
    ($text:ty) => {
        impl std::ops::Deref for $text {
            type Target = str;

            fn deref(&self) -> &str {
                crate::text::ascii(self.bytes())
            }
        }

        impl AsRef<str> for $text {
            fn as_ref(&self) -> &str {
                self
            }
        }

        impl std::fmt::Display for $text {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self)
            }
        }

        impl std::fmt::Debug for $text {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&**self, f)
            }
        }
    };
}
pub(crate) use reads_as_str;
