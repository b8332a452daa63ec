//! Patterns with `*` and `?`.

use xray_core::test_util::TestRecorder;
use xray_core::{LocalRules, Pattern, RequestFacts, Rule};

/// Pattern and text, each on a line: they match as the definition says, in
/// rules, too, and where absent facts stand; a long text takes no more than
/// text times pattern, or the fuzzer's clock runs out.
pub fn wildcard(data: &[u8]) {
    let data = &data[..data.len().min(128)];
    let text = String::from_utf8_lossy(data);
    let (pattern, text) = text.split_once('\n').unwrap_or((&text, ""));
    let expected = matches(pattern, text);
    assert_eq!(Pattern::new(pattern).matches(text), expected);
    let rule = Rule::new().host(pattern).method(pattern).path(pattern);
    let rules = || LocalRules::new(0, 0.0).rule(rule.clone().rate(1.0));
    let asked = |rules: LocalRules, requests: [Facts<'_>; 4]| {
        let recorder = TestRecorder::configured("fuzz", |builder| builder.sampler(rules));
        requests.map(|facts| {
            let segment = recorder.segment("fuzz").request(&facts).begin();
            segment.is_sampled()
        })
    };
    let (some, none) = (Some(text), None);
    let one_by_one = [
        [none; 3],
        [some, none, none],
        [none, some, none],
        [none, none, some],
    ];
    let decided = asked(rules(), one_by_one.map(Facts));
    assert_eq!(decided, [true, expected, expected, expected]);
    // Absent facts read as empty ones.
    let decided = asked(rules().absent_as_empty(), one_by_one.map(Facts));
    let empty = matches(pattern, "");
    assert_eq!(
        decided,
        [
            empty,
            expected && empty,
            expected && empty,
            expected && empty
        ]
    );
    // What matches once is found in a long text, at both ends and between.
    let around = Pattern::new(&format!("*{pattern}*"));
    let long = text.repeat(64);
    for found in [&format!("a{text}é"), &format!("{long}é"), &long] {
        assert!(around.matches(found) || !expected);
    }
    // The worst there is: each star may end anywhere, and the end is missing.
    let stars = format!("*{}\u{1}*", pattern.repeat(8));
    let unmet = !text.contains('\u{1}');
    assert!(!(unmet && Pattern::new(&stars).matches(&long)));
}

/// Host, method and path of a request.
struct Facts<'a>([Option<&'a str>; 3]);

impl RequestFacts for Facts<'_> {
    fn host(&self) -> Option<&str> {
        self.0[0]
    }

    fn method(&self) -> Option<&str> {
        self.0[1]
    }

    fn path(&self) -> Option<&str> {
        self.0[2]
    }
}

/// The definition: which beginnings of the text each beginning of the pattern
/// matches.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut matched = vec![false; text.len() + 1];
    matched[0] = true;
    for token in pattern.chars() {
        if token == '*' {
            let first = matched.iter().position(|matched| *matched);
            matched[first.unwrap_or(text.len() + 1)..].fill(true);
            continue;
        }
        for at in (1..=text.len()).rev() {
            let char = text[at - 1];
            let same = token == '?' || char.to_lowercase().eq(token.to_lowercase());
            matched[at] = matched[at - 1] && same;
        }
        matched[0] = false;
    }
    matched[text.len()]
}
