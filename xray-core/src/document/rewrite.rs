//! A document that a hook changed, written again: of what it left alone, to the
//! letter as it was.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Document;
use crate::encode::json::harmless;

/// Members that a [`Value`] does not hold as they are: it sorts keys, joins
/// those that come twice, and rounds numbers of more than 64 bits.
#[derive(Deserialize)]
struct Texts<'a> {
    id: &'a str,
    #[serde(borrow)]
    aws: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    subsegments: Vec<Self>,
}

/// The text of `document`, which was read from `text` as `before`. No more than
/// `limits::DOCUMENT_DEPTH` levels of it, so recursion is safe.
///
/// # Errors
///
/// When something cannot be read or written.
pub(crate) fn rewrite(
    document: Document,
    before: &Document,
    text: &[u8],
) -> Result<String, serde_json::Error> {
    let mut known = HashMap::new();
    let mut ahead: Vec<Texts<'_>> = vec![serde_json::from_slice(text)?];
    while let Some(mut texts) = ahead.pop() {
        ahead.append(&mut texts.subsegments);
        known.insert(texts.id, texts);
    }
    let mut documents = HashMap::new();
    for document in before.walk() {
        documents.insert(document.id.as_str(), document);
    }
    let mut out = String::with_capacity(text.len() + 64);
    let known = Known {
        texts: known,
        documents,
    };
    known.write(&mut out, document)?;
    Ok(out)
}

/// Each entity as it was, by id.
struct Known<'a> {
    texts: HashMap<&'a str, Texts<'a>>,
    documents: HashMap<&'a str, &'a Document>,
}

impl Known<'_> {
    fn write(&self, out: &mut String, mut document: Document) -> Result<(), serde_json::Error> {
        let subsegments = std::mem::take(&mut document.subsegments);
        let mut kept = Vec::new();
        if let (Some(texts), Some(was)) = (
            self.texts.get(document.id.as_str()),
            self.documents.get(document.id.as_str()),
        ) {
            for (name, text, member, was) in [
                ("aws", texts.aws, &mut document.aws, &was.aws),
                (
                    "annotations",
                    texts.annotations,
                    &mut document.annotations,
                    &was.annotations,
                ),
                (
                    "metadata",
                    texts.metadata,
                    &mut document.metadata,
                    &was.metadata,
                ),
            ] {
                kept.extend(take_same(member, was, text).map(|text| (name, text)));
            }
        }
        out.push_str(&harmless(serde_json::to_string(&document)?));
        out.pop(); // the closing brace; a name stands before it
        for (name, text) in kept {
            out.push_str(",\"");
            out.push_str(name);
            out.push_str("\":");
            out.push_str(text);
        }
        let mut opening = ",\"subsegments\":[";
        let has_some = !subsegments.is_empty();
        for subsegment in subsegments {
            out.push_str(opening);
            opening = ",";
            self.write(out, subsegment)?;
        }
        out.push_str(if has_some { "]}" } else { "}" });
        Ok(())
    }
}

/// Takes a member out of the model, if its text says the same.
fn take_same<'a>(
    member: &mut Map<String, Value>,
    was: &Map<String, Value>,
    text: Option<&'a RawValue>,
) -> Option<&'a str> {
    let text = text.filter(|_| member == was)?;
    member.clear();
    Some(text.get())
}
