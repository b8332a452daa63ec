//! Names, keys and texts of any characters.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::json;
use xray_core::{Capture, HttpRequest};
use xray_local::check_document;

use super::tree::{settled, strictly};

/// Any text as name, key and value: what X-Ray does not allow becomes `_`, what
/// is too long is cut between characters, and nothing else changes.
pub fn name_annotation(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let capture = Capture::new(65_474);
    let Ok(recorder) = settled(capture.clone()).0.build() else {
        return; // no setting in use can be wrong
    };
    let segment = recorder.begin_segment(&text);
    segment.annotate(&text, text.as_ref());
    segment.set_user(&text);
    segment.http_request(
        &HttpRequest::new("GET", "http://a/")
            .user_agent(&text)
            .forwarded_for(&text),
    );
    segment.begin_subsegment(&text).close();
    segment.close();
    let json = capture.json();
    assert_eq!(json.len(), 1);
    let document = strictly(&json[0]);
    let (name, key) = (valid_name(&text), valid_key(&text));
    assert_eq!(document.name, name);
    assert_eq!(document.subsegments[0].name, name);
    let annotations = json!({ key: cut(&text, 1_000) });
    assert_eq!(Some(&document.annotations), annotations.as_object());
    assert_eq!(
        document.user.as_deref(),
        Some(&*cut(&text, 250)),
        "{text:?}"
    );
    let request = document.http.and_then(|http| http.request);
    let (agent, client) = request.map_or((None, None), |it| (it.user_agent, it.client_ip));
    assert_eq!(agent.as_deref(), Some(&*cut(&text, 250)));
    let client = client.map(|client| client.parse::<IpAddr>());
    assert!(client.is_none_or(|client| client.is_ok_and(|ip| ip == ip.to_canonical())));
    // Nothing could deceive whoever reads the line as it is.
    let raw = String::from_utf8_lossy(&json[0]);
    assert!(!raw.chars().any(is_hostile), "{raw:?}");
    if recorder.events().trimmed == 0 {
        assert_eq!(document.name, text);
    }
}

pub(super) fn valid_name(text: &str) -> String {
    let name: String = text.chars().take(200).map(in_name).collect();
    if name.is_empty() { "_".into() } else { name }
}

pub(super) fn valid_key(text: &str) -> String {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let in_key = |c| if valid(c) { c } else { '_' };
    let key: String = text.chars().take(500).map(in_key).collect();
    if key.is_empty() { "_".into() } else { key }
}

/// A character of a name, or what stands for it. Which ones are allowed is the
/// strict reader's to say: it does not share the writer's table.
fn in_name(c: char) -> char {
    thread_local! {
        static KNOWN: RefCell<HashMap<char, bool>> = RefCell::default();
    }
    let judge = || {
        let alone = json!({
            "name": c, "id": "70de5b6f19ff9a0a", "start_time": 1.0, "end_time": 1.0,
            "trace_id": "1-66f2a1c0-0123456789abcdef01234567",
        });
        check_document(alone.to_string().as_bytes()).is_ok()
    };
    let allowed = KNOWN.with_borrow_mut(|known| *known.entry(c).or_insert_with(judge));
    if allowed { c } else { '_' }
}

fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}

/// Control characters, and those that turn the direction of text.
fn is_hostile(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c.is_ascii()) || matches!(c, '\u{2028}' | '\u{2029}')
}
