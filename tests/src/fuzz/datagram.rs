//! The stand-in for the daemon: whatever anybody sends to it.

use std::time::Duration;

use serde_json::Value;
use xray_core::document::Document;
use xray_local::{Filter, Flag, Node, Trace, check, check_document, join, render_json, tidy};

use super::wildcard::matches;

/// A line that a filter is made of, then datagrams, a byte of zero between them:
/// each is accepted or told why not in harmless words; what is accepted is
/// joined, drawn and written as JSON, whoever sent it; a filter finds what it
/// says.
pub fn xray_local_datagram(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (line, rest) = data.split_at(end.unwrap_or(data.len()));
    let rest = rest.get(1..).unwrap_or_default();
    let mut accepted = Vec::new();
    for datagram in rest.split(|byte| *byte == 0) {
        let body = datagram.splitn(2, |byte| *byte == b'\n').nth(1);
        match check(datagram) {
            Ok(document) => {
                assert_eq!(body.map(check_document), Some(Ok(document.clone())));
                reads_back(&document);
                accepted.push(document);
            }
            Err(broken) => {
                assert!(!broken.is_empty());
                let told = broken.iter().map(ToString::to_string);
                told.for_each(|text| assert!(is_harmless(&text), "{text:?}"));
            }
        }
        let untidy = tidy(datagram);
        let told = untidy.iter().map(ToString::to_string);
        told.for_each(|text| assert!(is_harmless(&text), "{text:?}"));
        // A document alone, judged or not, is read by the lenient model.
        if let Ok(document) = Document::from_json(datagram) {
            reads_back(&document);
            shows(&[document], line);
        }
    }
    shows(&accepted, line);
}

/// What the model writes it reads as the same.
fn reads_back(document: &Document) {
    let text = serde_json::to_vec(document).unwrap_or_default();
    let again = Document::from_json(&text).ok();
    assert_eq!(again.as_ref(), Some(document));
}

fn shows(documents: &[Document], line: &[u8]) {
    let traces = join(documents.iter().cloned());
    let nodes: usize = traces.iter().map(|trace| trace.nodes().count()).sum();
    let given: usize = documents.iter().map(|one| one.walk().count()).sum();
    let missing = traces.iter().flat_map(Trace::nodes);
    let missing = missing.filter(|node| node.document().is_none()).count();
    assert!(nodes <= given + missing && missing <= given);
    for trace in &traces {
        let drawn = trace.to_string();
        assert!(drawn.lines().all(is_harmless), "{drawn:?}");
        let mut json = String::new();
        assert!(render_json(trace, &mut json).is_ok());
        assert!(is_harmless(&json), "{json:?}");
        match serde_json::from_str::<Value>(&json) {
            Ok(read) => assert_eq!(read["id"], trace.id()),
            // Joined, a trace may be deeper than a reader accepts.
            Err(error) => assert!(error.to_string().starts_with("recursion limit"), "{error}"),
        }
        filters(trace, &String::from_utf8_lossy(line));
    }
}

fn filters(trace: &Trace, line: &str) {
    let names = trace.nodes().filter_map(Node::document);
    let names: Vec<String> = names.map(|found| found.name.to_lowercase()).collect();
    let pattern = line.to_lowercase();
    let is_pattern = line.contains(['*', '?']);
    let named = names.iter().any(|name| {
        if is_pattern {
            matches(&pattern, name)
        } else {
            name.contains(&pattern)
        }
    });
    let filter = Filter::default().name(line);
    assert_eq!(filter.matches(trace), named, "{line:?} in {names:?}");
    assert!(Filter::default().matches(trace));
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    let exact = Filter::default().annotation_is(key, value);
    let any = Filter::default().annotation(key);
    assert!(!exact.matches(trace) || any.matches(trace));
    let both = any.clone().name(line).flag(Flag::Fault);
    assert!(!both.matches(trace) || named && any.matches(trace));
    let longer = |seconds| Filter::default().longer_than(Duration::from_secs(seconds));
    assert!(!longer(60).matches(trace) || longer(1).matches(trace));
}

/// Nothing steers a terminal.
fn is_harmless(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}
