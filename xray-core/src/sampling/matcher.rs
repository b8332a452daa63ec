//! Which rule a request falls under. What the rule then lets through is decided
//! elsewhere.

use super::RequestFacts;
use super::glob::{Edge, Glob, Text};

/// What a rule asks of a request.
#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) host: Glob,
    pub(super) method: Glob,
    pub(super) path: Glob,
}

impl Matcher {
    fn matches(&self, facts: &mut Facts<'_>) -> bool {
        // The shortest first, and nothing is read that no rule asks for.
        asks(&self.method, || facts.method())
            && asks(&self.host, || facts.host())
            && asks(&self.path, || facts.path())
    }
}

/// An absent fact matches.
fn asks<'a>(glob: &Glob, fact: impl FnOnce() -> Option<&'a Text<'a>>) -> bool {
    glob.is_any() || fact().is_none_or(|text| glob.matches(text))
}

/// Rules in the order in which they are tried, each with what it grants.
#[derive(Debug)]
pub(super) struct Ordered<Grant> {
    rules: Vec<(Matcher, Grant)>,
    /// How the paths of the rules begin, side by side: nearly all rules are
    /// found not to match here, without a look at the rules themselves.
    beginnings: Vec<Edge>,
    default: Grant,
}

impl<Grant> Ordered<Grant> {
    pub(super) fn new(default: Grant) -> Self {
        Self {
            rules: Vec::new(),
            beginnings: Vec::new(),
            default,
        }
    }

    /// Adds a rule behind the others.
    pub(super) fn push(&mut self, matcher: Matcher, grant: Grant) {
        self.beginnings.push(matcher.path.beginning());
        self.rules.push((matcher, grant));
    }

    /// What the first rule that matches grants, or the default.
    pub(super) fn find(&self, mut facts: Facts<'_>) -> &Grant {
        let asks = self.beginnings.iter().any(Edge::asks);
        let path = if asks { facts.path().copied() } else { None };
        for ((matcher, grant), beginning) in self.rules.iter().zip(&self.beginnings) {
            let begins_so = path.is_none_or(|path| path.begins(beginning));
            if begins_so && matcher.matches(&mut facts) {
                return grant;
            }
        }
        &self.default
    }
}

/// The facts of one request, each read once, when first asked for.
pub(super) struct Facts<'a> {
    request: &'a dyn RequestFacts,
    absent: Option<Text<'a>>,
    host: Option<Option<Text<'a>>>,
    method: Option<Option<Text<'a>>>,
    path: Option<Option<Text<'a>>>,
}

impl<'a> Facts<'a> {
    /// Facts that are absent are read as `absent`, if that is anything.
    pub(super) fn new(request: &'a dyn RequestFacts, absent: Option<&'a str>) -> Self {
        Self {
            request,
            absent: absent.map(Text::from),
            host: None,
            method: None,
            path: None,
        }
    }

    fn host(&mut self) -> Option<&Text<'a>> {
        let read = || self.request.host().map(Text::from).or(self.absent);
        self.host.get_or_insert_with(read).as_ref()
    }

    fn method(&mut self) -> Option<&Text<'a>> {
        let read = || self.request.method().map(Text::from).or(self.absent);
        self.method.get_or_insert_with(read).as_ref()
    }

    fn path(&mut self) -> Option<&Text<'a>> {
        let read = || self.request.path().map(Text::from).or(self.absent);
        self.path.get_or_insert_with(read).as_ref()
    }
}
