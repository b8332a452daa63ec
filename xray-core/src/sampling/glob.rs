//! Patterns with `*` and `?`, as sampling rules hold them.

/// `*` stands for any run of characters, the empty one included, and `?` for
/// exactly one. Nothing else is special, and nothing escapes those two. The
/// whole text must match; upper and lower case are one.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    /// Up to and including the last star; empty if there is none.
    head: Box<[char]>,
    /// What stands behind the last star.
    tail: Box<[char]>,
    /// The short way for ASCII texts; none if they cannot match.
    outline: Option<Outline>,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let mut folded: Vec<char> = pattern.chars().map(fold).collect();
        folded.dedup_by(|next, before| *next == '*' && *before == '*');
        let outline = Outline::new(&folded);
        let behind = folded.iter().rposition(|token| *token == '*');
        let tail = folded.split_off(behind.map_or(0, |star| star + 1));
        Self {
            head: folded.into(),
            tail: tail.into(),
            outline,
        }
    }

    /// True for `*`, which asks for nothing.
    pub(super) fn is_any(&self) -> bool {
        self.head.len() == 1 && self.tail.is_empty()
    }

    /// What a text must begin with, as far as that is told at a glance.
    pub(super) fn beginning(&self) -> Edge {
        match &self.outline {
            Some(outline) => outline.first,
            None => Edge::default(), // the text may be another that is no ASCII
        }
    }

    #[inline]
    pub(super) fn matches(&self, text: &Text<'_>) -> bool {
        if !text.ascii {
            return self.walk_chars(text.text);
        }
        let Some(outline) = &self.outline else {
            return false;
        };
        outline.fits(text) && (outline.is_all || self.walk_bytes(text.text))
    }

    // Kept out of line: what is found not to match needs none of its registers.
    #[inline(never)]
    fn walk_chars(&self, text: &str) -> bool {
        self.walk(text.chars().map(fold))
    }

    #[inline(never)]
    fn walk_bytes(&self, text: &str) -> bool {
        let bytes = text.bytes();
        self.walk(bytes.map(|byte| char::from(byte.to_ascii_lowercase())))
    }

    /// Looks at no more than `(text + 1) * (pattern + 1)` characters: only the
    /// last star passed is ever tried again, since an earlier one could not
    /// reach a place that the last one cannot.
    fn walk<T>(&self, mut text: T) -> bool
    where
        T: DoubleEndedIterator<Item = char> + Clone,
    {
        // The tail is at the end or nowhere; then the head, which ends in a
        // star, has only to begin the rest.
        for token in self.tail.iter().rev() {
            if !text.next_back().is_some_and(|char| accepts(*token, char)) {
                return false;
            }
        }
        let mut head = self.head.iter();
        if head.as_slice().is_empty() {
            return text.next().is_none();
        }
        let mut retry = None;
        while let Some(token) = head.next() {
            if *token == '*' {
                retry = Some((head.clone(), text.clone()));
                continue;
            }
            let Some(char) = text.next() else {
                return false;
            };
            if !accepts(*token, char) {
                let Some((pattern, from)) = &mut retry else {
                    return false;
                };
                from.next();
                (head, text) = (pattern.clone(), from.clone());
            }
        }
        true
    }
}

/// What can be said of an ASCII text without walking through it: most rules
/// are found not to match by this alone.
#[derive(Debug, Clone)]
struct Outline {
    /// Characters the text must have.
    least: usize,
    /// It must not have more.
    exact: bool,
    first: Edge,
    last: Edge,
    /// It must have all of these somewhere.
    bytes: ByteSet,
    /// There is no more to the pattern than this.
    is_all: bool,
}

/// Bytes that one end of a text must show, where the mask is set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Edge {
    bytes: u128,
    mask: u128,
}

impl Outline {
    fn new(pattern: &[char]) -> Option<Self> {
        if !pattern.iter().all(char::is_ascii) {
            return None;
        }
        let mut parts = pattern.split(|token| *token == '*');
        let front = parts.next().unwrap_or_default();
        let back = parts.next_back();
        let stars = pattern.iter().filter(|token| **token == '*').count();
        let seen = |part: &[char]| part.len() <= EDGE;
        let literals = pattern.iter().filter(|token| !matches!(token, '*' | '?'));
        Some(Self {
            least: pattern.len() - stars,
            exact: stars == 0,
            first: Edge::first(front),
            last: back.map_or(Edge::default(), Edge::last),
            bytes: ByteSet::of(literals.map(|token| *token as u8)),
            is_all: stars <= 1 && seen(front) && back.is_none_or(seen),
        })
    }

    fn fits(&self, text: &Text<'_>) -> bool {
        let length = text.text.len();
        let differ = |edge: Edge, found: u128| (edge.bytes ^ found) & edge.mask;
        (length == self.least || length > self.least && !self.exact)
            && differ(self.first, text.first) | differ(self.last, text.last) == 0
            && self.bytes.is_within(text.bytes)
    }
}

impl Edge {
    /// Whether it asks for anything.
    pub(super) fn asks(&self) -> bool {
        self.mask != 0
    }

    fn first(part: &[char]) -> Self {
        Self::new(part.iter().take(EDGE).enumerate())
    }

    fn last(part: &[char]) -> Self {
        let backwards = part.iter().rev().take(EDGE).enumerate();
        Self::new(backwards.map(|(at, token)| (EDGE - 1 - at, token)))
    }

    fn new<'a>(tokens: impl Iterator<Item = (usize, &'a char)>) -> Self {
        let mut edge = Self::default();
        for (at, token) in tokens.filter(|(_, token)| **token != '?') {
            edge.bytes |= u128::from(u32::from(*token)) << (8 * at);
            edge.mask |= 0xff << (8 * at);
        }
        edge
    }
}

/// Which bytes of ASCII occur, in either case; some share a place.
#[derive(Debug, Clone, Copy)]
struct ByteSet(u64);

impl ByteSet {
    fn of(bytes: impl Iterator<Item = u8>) -> Self {
        // Upper and lower case of a letter differ in the one bit left out here.
        let place = |byte: u8| byte & 31 | (byte & 64) >> 1;
        Self(bytes.fold(0, |set, byte| set | 1 << place(byte)))
    }

    fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

/// A text to be matched, looked through once for what every match wants to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    text: &'a str,
    ascii: bool,
    /// Its first bytes, in lower case, from the lowest on.
    first: u128,
    /// Its last bytes, in lower case, up to the highest.
    last: u128,
    bytes: ByteSet,
}

impl Text<'_> {
    /// Whether it may begin so.
    pub(super) fn begins(&self, edge: &Edge) -> bool {
        (edge.bytes ^ self.first) & edge.mask == 0 || !self.ascii
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        let (mut first, mut last) = ([0; EDGE], [0; EDGE]);
        let seen = text.len().min(EDGE);
        first[..seen].copy_from_slice(&text.as_bytes()[..seen]);
        last[EDGE - seen..].copy_from_slice(&text.as_bytes()[text.len() - seen..]);
        first.make_ascii_lowercase();
        last.make_ascii_lowercase();
        Self {
            text,
            ascii: text.is_ascii(),
            first: u128::from_le_bytes(first),
            last: u128::from_le_bytes(last),
            bytes: ByteSet::of(text.bytes()),
        }
    }
}

/// Bytes that are compared at once.
const EDGE: usize = 16;

fn accepts(token: char, char: char) -> bool {
    token == char || token == '?'
}

/// Lower case, where that is one character: then texts keep their length.
fn fold(char: char) -> char {
    if char.is_ascii() {
        return char.to_ascii_lowercase();
    }
    let mut lower = char.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => char,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).matches(&text.into())
    }

    /// The definition, word for word.
    fn model(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|run| model(rest, &text[run..])),
            Some((token, rest)) => text.split_first().is_some_and(|(char, behind)| {
                let same = char.to_lowercase().eq(token.to_lowercase());
                (*token == '?' || same) && model(rest, behind)
            }),
        }
    }

    /// Characters looked at.
    fn steps(pattern: &str, text: &str) -> usize {
        let steps = Cell::new(0);
        let counted = text.chars().map(|char| {
            steps.set(steps.get() + 1);
            fold(char)
        });
        Glob::new(pattern).walk(counted);
        steps.get()
    }

    #[test]
    fn patterns_and_texts() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "any/thing.at:all"),
            ("**", ""),
            ("?", "x"),
            ("?", "\u{1f980}"),
            ("??", "\u{e9}x"),
            ("*?", "x"),
            ("?*", "x"),
            ("/api/*", "/api/"),
            ("/api/*", "/api/v1/orders"),
            ("*.example", "shop.example"),
            ("*.EXAMPLE", "Shop.example"),
            ("/a*b*c", "/aXbXbXc"),
            ("*aab", "aaaab"),
            ("*ab*ab", "abab"),
            ("*ab?c*", "ababxc"),
            ("/\u{c9}t\u{e9}*", "/\u{e9}T\u{c9}/2026"),
            ("\u{212a}elvin", "KELVIN"),
            ("kelvin", "\u{212a}elvin"),
            ("\u{130}", "\u{130}"),
            ("[a-z]\\.", "[A-Z]\\."),
        ] {
            assert!(matches(pattern, text), "{pattern:?} for {text:?}");
        }
        for (pattern, text) in [
            ("", "x"),
            ("?", ""),
            ("?", "xy"),
            ("*?", ""),
            ("**?", ""),
            ("/api/*", "/api"),
            ("/api/*", "x/api/"),
            ("*.example", "shop.example.com"),
            ("*.example", "example"),
            ("GET", "GETS"),
            ("GET", "ET"),
            ("aba*aba", "aba"),
            ("*ab*ab", "ab"),
            ("a*c*b", "abcc"),
            ("\\*", "x"),
            ("[a-z]", "m"),
            ("a.c", "abc"),
        ] {
            assert!(!matches(pattern, text), "{pattern:?} for {text:?}");
        }
    }

    #[test]
    fn only_a_star_asks_for_nothing() {
        for pattern in ["*", "**", "***"] {
            assert!(Glob::new(pattern).is_any(), "{pattern:?}");
        }
        for pattern in ["", "?", "a", "*a", "a*", "*?", "?*"] {
            assert!(!Glob::new(pattern).is_any(), "{pattern:?}");
        }
    }

    #[test]
    fn the_worst_patterns_stay_within_the_bound() {
        let text = "a".repeat(8_192);
        for pattern in [
            "*a*a*a*a*a*a*a*a*b*".to_owned(),
            "*a*a*a*a*a*a*a*a*b".to_owned(),
            format!("*{}b*", "a".repeat(64)),
            format!("{}b*", "a?".repeat(64)),
            "*?".repeat(64),
        ] {
            let most = (text.len() + 1) * (pattern.chars().count() + 1);
            let steps = steps(&pattern, &text);
            assert!(steps <= most, "{pattern:?}: {steps} of {most}");
        }
        // The common forms do not read the text to its end.
        assert_eq!(steps("*", &text), 0);
        assert_eq!(steps("aaaa*", &text), 4);
        assert_eq!(steps("*aaaa", &text), 4);
        assert_eq!(steps("GET", &text), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn agrees_with_the_model(
            pattern in "[abA\u{e9}\u{c9}*?]{0,8}",
            text in "[abB\u{e9}\u{c9}*?]{0,10}",
            ascii in "[abB*?]{0,10}",
        ) {
            let tokens: Vec<char> = pattern.chars().collect();
            for text in [text, ascii] {
                let chars: Vec<char> = text.chars().collect();
                prop_assert_eq!(matches(&pattern, &text), model(&tokens, &chars), "{:?}", text);
                let most = (chars.len() + 1) * (tokens.len() + 1);
                prop_assert!(steps(&pattern, &text) <= most);
            }
        }

        /// Texts longer than what is compared at once, and patterns made from
        /// them.
        #[test]
        fn agrees_with_the_model_on_long_texts(
            text in "[aBc]{10,40}",
            holes in prop::collection::vec((0usize..40, 0usize..30, "[*?cX]"), 0..4),
            also in "\u{e9}?",
        ) {
            let mut tokens: Vec<char> = text.to_uppercase().chars().collect();
            for (at, length, token) in holes {
                let at = at.min(tokens.len());
                let length = if token == "*" { length } else { 1 };
                let end = (at + length).min(tokens.len());
                tokens.splice(at..end, token.chars());
            }
            let pattern: String = tokens.iter().collect();
            let text = text + &also;
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(matches(&pattern, &text), model(&tokens, &chars), "{:?}", pattern);
        }

        #[test]
        fn any_text_matches_itself_and_any_star(
            before in any::<String>(),
            behind in any::<String>(),
        ) {
            let text = format!("{before}{behind}");
            prop_assert!(matches("*", &text));
            prop_assert!(matches(&text, &text));
            prop_assert!(matches(&(before + "*"), &text));
            prop_assert!(matches(&("*".to_owned() + &behind), &text));
            prop_assert!(matches(&"?".repeat(text.chars().count()), &text));
        }
    }
}
