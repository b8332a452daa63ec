//! Names of segments after the host that a request is for.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::sync::{Arc, PoisonError, RwLock};

use crate::hosts::Hosts;
use crate::url::Target;

/// A host name of DNS has no more characters. Longer ones are not remembered.
const HOST_BYTES: usize = 253;

/// Which hosts become names, and the names so far. Clones have these in common.
#[derive(Debug, Clone)]
pub(super) struct HostNames {
    hosts: Hosts,
    limit: usize,
    /// The names that patterns for more than one host let in; of clones, too.
    seen: Arc<RwLock<HashSet<String>>>,
}

impl Default for HostNames {
    fn default() -> Self {
        Self {
            hosts: Hosts::default(),
            limit: 100,
            seen: Arc::default(),
        }
    }
}

impl HostNames {
    pub(super) fn allow<P: AsRef<str>>(&mut self, patterns: impl IntoIterator<Item = P>) {
        self.hosts.extend("name_from_host", patterns);
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The name for a host, if it is to have one of its own: in lower case, an
    /// IPv6 address in its one shortest form.
    pub(super) fn name<'a>(&self, target: &Target<'a>) -> Option<Cow<'a, str>> {
        let host = target.host;
        if self.hosts.is_empty() || host.len() > HOST_BYTES {
            return None;
        }
        // A client leaves out the usual port.
        let ports = target.port.map_or([80, 443], |port| [port; 2]);
        let targets = ports.map(|port| Target {
            port: Some(port),
            ..*target
        });
        let is_one = targets.iter().any(|target| self.hosts.names(target));
        let is_let_in = |target| self.hosts.matches(target, false);
        if !is_one && !targets.iter().any(is_let_in) {
            return None;
        }
        let address = host.contains(':').then(|| host.parse::<Ipv6Addr>());
        let name = match address {
            Some(Ok(address)) => Cow::Owned(address.to_string()),
            _ if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                Cow::Owned(host.to_ascii_lowercase())
            }
            _ => Cow::Borrowed(host),
        };
        (is_one || self.is_within(&name)).then_some(name)
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
        names.allow(["*"]);
        names.set_limit(7);
        let is_named = |host: &u32| {
            let host = host.to_string();
            names.name(&Target::parse(&host).unwrap()).is_some()
        };
        let named = (0..1_000_000).filter(is_named);
        assert_eq!(named.count(), 7);
        assert_eq!(names.seen.read().unwrap().len(), 7);
    }

    #[test]
    fn a_host_is_as_long_as_dns_has_it() {
        let mut names = HostNames::default();
        names.allow(["*"]);
        let named = |length: usize| {
            let host = "x".repeat(length);
            names.name(&Target::parse(&host).unwrap()).is_some()
        };
        assert_eq!([252, 253, 254].map(named), [true, true, false]);
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
