//! From a piece of a record to the model: for snapshots, and emitters of one's
//! own. The hot road to bytes is `encode`; a property test holds the two
//! together.

use serde_json::{Map, Value as Json};

use super::{
    Cause, Document, Exception, Exceptions, Http, HttpRequest, HttpResponse, Link, Sql, StackFrame,
};
use crate::SegmentId;
use crate::emit::Piece;
use crate::encode::{json, valid};
use crate::limits;
use crate::record::{Field, Flags, NodeIndex, State, Stored, Value};

/// Each subtree of `piece` whose parent is not part of it. Levels beyond what a
/// document may have begin a document of their own.
pub(crate) fn documents(piece: &Piece) -> Vec<Document> {
    let nodes = &piece.record.nodes;
    let mut levels: Vec<u16> = Vec::with_capacity(nodes.len());
    let mut converted: Vec<Option<Document>> = Vec::with_capacity(nodes.len());
    for index in piece.record.indices() {
        let node = piece.record.node(index);
        let above = node
            .parent()
            .filter(|parent| converted[*parent as usize].is_some());
        let level = above.map_or(0, |parent| levels[parent as usize] + 1) % limits::DOCUMENT_DEPTH;
        levels.push(level);
        converted.push((node.state != State::Gone).then(|| document(piece, index, level == 0)));
    }
    // Children stand behind their parents: from the back each one is complete.
    let mut roots = Vec::new();
    for index in (0..nodes.len()).rev() {
        let Some(mut document) = converted[index].take() else {
            continue;
        };
        document.subsegments.reverse();
        let parent = nodes[index].parent().filter(|_| levels[index] > 0);
        match parent.and_then(|parent| converted[parent as usize].as_mut()) {
            Some(parent) => parent.subsegments.push(document),
            None => roots.push(document),
        }
    }
    roots.reverse();
    roots
}

fn document(piece: &Piece, index: NodeIndex, outermost: bool) -> Document {
    let record = &piece.record;
    let node = record.node(index);
    let seconds = |tick| piece.head.anchor.micros(tick) as f64 / 1e6;
    let mut document = Document {
        name: valid::name(record.text(node.name)).into_owned(),
        id: node.id.to_string(),
        start_time: Some(seconds(node.start)),
        end_time: (node.state == State::Closed).then(|| seconds(node.end)),
        in_progress: node.state == State::Open,
        error: node.flags.has(Flags::ERROR),
        throttle: node.flags.has(Flags::THROTTLE),
        fault: node.flags.has(Flags::FAULT),
        traced: node.flags.has(Flags::TRACED),
        ..Document::default()
    };
    if node.flags.has(Flags::REMOTE) {
        document.namespace = Some("remote".to_owned());
    } else if node.flags.has(Flags::AWS) {
        document.namespace = Some("aws".to_owned());
    }
    if outermost {
        document.trace_id = Some(piece.head.trace_id.to_string());
        document.parent_id = node.parent_id.map(|id| id.to_string());
        document.kind = (!node.is_segment).then(|| "subsegment".to_owned());
    }
    if node.is_segment {
        constants(piece, &mut document);
    }
    for value in record.values(index) {
        put(piece, &mut document, node.is_segment, value);
    }
    document
}

/// What every segment of a recorder says.
fn constants(piece: &Piece, document: &mut Document) {
    let text = |text: &str| Json::from(valid::text(text, limits::STRING_CHARS).0);
    let common = &piece.common;
    let origin = common
        .origin
        .as_deref()
        .map(|origin| valid::text(origin, limits::STRING_CHARS));
    document.origin = origin.map(|origin| origin.0.into_owned());
    if let Some(version) = &common.service_version {
        document.service.insert("version".to_owned(), text(version));
    }
    let mut sdk = Map::new();
    sdk.insert("sdk".to_owned(), "X-Ray for Rust".into());
    sdk.insert("sdk_version".to_owned(), env!("CARGO_PKG_VERSION").into());
    if let Some(rule) = &piece.head.rule {
        sdk.insert("sampling_rule_name".to_owned(), text(rule));
    }
    document.aws.insert("xray".to_owned(), sdk.into());
}

fn put(piece: &Piece, document: &mut Document, is_segment: bool, value: &Value) {
    let record = &piece.record;
    let plain = |limit| json_value(piece, value, limit);
    let text = || plain(limits::STRING_CHARS).as_str().map(str::to_owned);
    let number = || plain(0).as_u64();
    match value.field {
        // Below a facade there is no segment that could say it.
        Field::User | Field::Origin | Field::ServiceVersion | Field::Link if !is_segment => {}
        Field::HttpMethod => request(document).method = text(),
        Field::HttpUrl => request(document).url = text(),
        Field::HttpUserAgent => request(document).user_agent = text(),
        Field::HttpClientIp => request(document).client_ip = text(),
        Field::HttpForwarded => {
            request(document).x_forwarded_for = matches!(value.stored, Stored::Boolean(true));
        }
        Field::HttpStatus => {
            response(document).status = number().and_then(|status| u16::try_from(status).ok());
        }
        Field::HttpContentLength => response(document).content_length = number(),
        Field::User => document.user = text(),
        Field::Origin => document.origin = text(),
        Field::ServiceVersion => {
            let version = plain(limits::STRING_CHARS);
            document.service.insert("version".to_owned(), version);
        }
        Field::Aws => {
            let key = record.key(value).to_owned();
            document.aws.insert(key, plain(limits::STRING_CHARS));
        }
        Field::Sql => {
            let sql = document.sql.get_or_insert_with(Sql::default);
            let long = || plain(limits::SQL_BYTES + 1).as_str().map(str::to_owned);
            match record.key(value) {
                "connection_string" => sql.connection_string = long(),
                "url" => sql.url = long(),
                "sanitized_query" => sql.sanitized_query = long(),
                "database_type" => sql.database_type = long(),
                "database_version" => sql.database_version = long(),
                "driver_version" => sql.driver_version = long(),
                "user" => sql.user = text(),
                _ => sql.preparation = long(),
            }
        }
        Field::Link => {
            let link = plain(usize::MAX);
            if let Some((trace_id, id)) = link.as_str().and_then(|link| link.split_once('@')) {
                document.links.push(Link {
                    trace_id: trace_id.to_owned(),
                    id: id.to_owned(),
                    ..Link::default()
                });
            }
        }
        Field::Precursor => {
            if let Stored::Id(id) = value.stored {
                document.precursor_ids.push(format!("{id:016x}"));
            }
        }
        Field::Exception => {
            if let Stored::Exception(index) = value.stored {
                exception(document, &record.exceptions[index as usize]);
            }
        }
        Field::CauseLink => {
            // A chain that was recorded here says more than a link.
            if let (Stored::Id(id), None | Some(Cause::Id(_))) = (value.stored, &document.cause) {
                document.cause = Some(Cause::Id(format!("{id:016x}")));
            }
        }
        Field::Annotation => {
            let key = valid::key(record.key(value)).into_owned();
            document
                .annotations
                .insert(key, plain(limits::ANNOTATION_CHARS));
        }
        Field::Metadata => {
            let (namespace, key) = record.metadata_key(value);
            let keys = document
                .metadata
                .entry(namespace)
                .or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(keys) = keys {
                keys.insert(key.to_owned(), plain(0));
            }
        }
    }
}

fn request(document: &mut Document) -> &mut HttpRequest {
    let http = document.http.get_or_insert_with(Http::default);
    http.request.get_or_insert_with(HttpRequest::default)
}

fn response(document: &mut Document) -> &mut HttpResponse {
    let http = document.http.get_or_insert_with(Http::default);
    http.response.get_or_insert_with(HttpResponse::default)
}

fn exception(document: &mut Document, exception: &crate::record::Exception) {
    let id = |id: SegmentId| id.to_string();
    if !matches!(document.cause, Some(Cause::Exceptions(_))) {
        document.cause = Some(Cause::Exceptions(Exceptions::default()));
    }
    if let Some(Cause::Exceptions(cause)) = &mut document.cause {
        cause.exceptions.push(Exception {
            id: id(exception.id),
            kind: Some(bounded(&exception.kind, limits::EXCEPTION_KIND_BYTES + 1)),
            message: Some(bounded(&exception.message.text, limits::MESSAGE_BYTES + 1)),
            remote: exception.remote,
            cause: exception.cause.map(id),
            truncated: (exception.truncated > 0).then_some(exception.truncated),
            skipped: (exception.skipped > 0).then_some(exception.skipped),
            stack: exception.stack.iter().map(frame).collect(),
            ..Exception::default()
        });
    }
}

fn bounded(text: &str, limit: usize) -> String {
    valid::text(text, limit).0.into_owned()
}

fn frame(frame: &crate::record::Frame) -> StackFrame {
    StackFrame {
        path: Some(bounded(&frame.path, limits::FRAME_BYTES + 1)),
        line: Some(frame.line),
        label: Some(bounded(&frame.label, limits::FRAME_BYTES + 1)),
        ..StackFrame::default()
    }
}

/// A value as JSON; text of at most `limit` characters.
fn json_value(piece: &Piece, value: &Value, limit: usize) -> Json {
    match value.stored {
        Stored::Text(text) => valid::text(piece.record.text(text), limit).0.into(),
        // Written by serde_json itself.
        Stored::Json(text) => serde_json::from_str(piece.record.text(text)).unwrap_or(Json::Null),
        Stored::Integer(number) => number.into(),
        Stored::Unsigned(number) => number.into(),
        Stored::Float(number) => json::not_finite(number).map_or_else(|| number.into(), Json::from),
        Stored::Boolean(flag) => flag.into(),
        Stored::Id(_) | Stored::Exception(_) => Json::Null,
    }
}
