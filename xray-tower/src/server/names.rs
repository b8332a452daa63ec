//! Names of segments after the host that a request is for.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use xray_core::Pattern;

/// A host name of DNS has no more characters. Longer ones are not remembered.
const HOST_BYTES: usize = 253;

/// Which hosts become names, and the names so far. Clones have these in common.
#[derive(Debug, Clone)]
pub(super) struct HostNames {
    /// Without wildcards: these need no limit.
    literal: HashSet<String>,
    patterns: Vec<Pattern>,
    limit: usize,
    /// What the patterns let in; of clones, too.
    seen: Arc<RwLock<HashSet<String>>>,
}

impl Default for HostNames {
    fn default() -> Self {
        Self {
            literal: HashSet::new(),
            patterns: Vec::new(),
            limit: 100,
            seen: Arc::default(),
        }
    }
}

impl HostNames {
    pub(super) fn allow(&mut self, pattern: &str) {
        if pattern.contains(['*', '?']) {
            self.patterns.push(Pattern::new(pattern));
        } else {
            self.literal.insert(pattern.to_ascii_lowercase());
        }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The name for a host, in lower case, if it is to have one of its own.
    pub(super) fn name<'a>(&self, host: &'a str) -> Option<Cow<'a, str>> {
        if self.literal.is_empty() && self.patterns.is_empty() || host.len() > HOST_BYTES {
            return None;
        }
        let name = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        let is_allowed = self.literal.contains(&*name)
            || self.patterns.iter().any(|pattern| pattern.matches(&name)) && self.is_within(&name);
        is_allowed.then_some(name)
    }

    fn is_within(&self, name: &str) -> bool {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(name) || seen.len() >= self.limit {
            return seen.contains(name);
        }
        drop(seen);
        self.let_in(name)
    }

    /// Looks at the limit again: others may have come in between.
    fn let_in(&self, name: &str) -> bool {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < self.limit {
            seen.insert(name.to_owned());
        }
        seen.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_hosts_is_not_remembered() {
        let mut names = HostNames::default();
        names.allow("*");
        names.set_limit(7);
        let named = (0..1_000_000).filter(|host| names.name(&host.to_string()).is_some());
        assert_eq!(named.count(), 7);
        assert_eq!(names.seen.read().unwrap().len(), 7);
    }

    /// Both have found that there is one name left.
    #[test]
    fn two_who_come_for_the_last_name() {
        let mut names = HostNames::default();
        names.set_limit(1);
        assert!(names.let_in("a"));
        assert!(!names.let_in("b"));
        assert!(names.let_in("a"));
    }
}
