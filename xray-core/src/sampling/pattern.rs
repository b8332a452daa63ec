//! The patterns of sampling rules, for others who match texts.

use super::glob::Glob;

/// A pattern like those of sampling rules: `*` stands for any run of
/// characters, the empty one included, and `?` for exactly one. The whole text
/// must match; upper and lower case are one. Takes time in proportion to text
/// times pattern at most.
///
/// ```
/// use xray_core::Pattern;
///
/// let pattern = Pattern::new("*.shop.example");
/// assert!(pattern.matches("eu.Shop.example"));
/// assert!(!pattern.matches("shop.example"));
/// ```
#[derive(Debug, Clone)]
pub struct Pattern(Glob);

impl Pattern {
    /// Every text is a pattern.
    pub fn new(pattern: &str) -> Self {
        Self(Glob::new(pattern))
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(&text.into())
    }
}
