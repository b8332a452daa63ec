//! Writes to an entity of a recorder.

use std::any::Any;

use xray_core::{Entity, HttpRequest, HttpResponse, Preparation, Segment, Sql, Subsegment, Tally};

use super::entity::FLOOD;
use super::operations::{Tallying, What};
use super::words;

/// The owner of an entity.
pub(super) enum Owner {
    Segment(Segment),
    Subsegment(Subsegment),
}

impl Owner {
    pub(super) fn close(self) {
        match self {
            Self::Segment(segment) => segment.close(),
            Self::Subsegment(subsegment) => subsegment.close(),
        }
    }

    pub(super) fn close_at(self, end: std::time::SystemTime) {
        match self {
            Self::Segment(segment) => segment.close_at(end),
            Self::Subsegment(subsegment) => subsegment.close_at(end),
        }
    }
}

/// Writes by way of an owner, which may have methods of its own.
pub(super) fn to_owner(owner: &Owner, what: &What) {
    match (owner, what) {
        (Owner::Segment(segment), What::Mark(class)) => segment.mark(*class),
        (Owner::Segment(segment), What::Raise(class)) => segment.raise(*class),
        (Owner::Segment(segment), What::Response(status, length)) => {
            segment.http_response(response(*status, *length));
        }
        (Owner::Segment(segment), what) => to_entity(segment, what),
        (Owner::Subsegment(subsegment), what) => to_entity(subsegment, what),
    }
}

pub(super) fn to_entity(entity: &Entity, what: &What) {
    match what {
        What::Annotate(key, value) => entity.annotate(words::key(*key), words::annotation(*value)),
        What::Tally(key, tally) => entity.tally(
            words::key(*key),
            match tally {
                Tallying::Sum(number) => Tally::Sum(f64::from(*number)),
                Tallying::Max(number) => Tally::Max(f64::from(*number)),
                Tallying::Any(flag) => Tally::Any(*flag),
                Tallying::Last(value) => Tally::Last(words::annotation(*value)),
            },
        ),
        What::Metadata(namespace, key, value) => entity.metadata_in(
            words::namespace(*namespace),
            words::key(*key),
            words::Given(*value),
        ),
        What::Aws(key, value) => {
            let (key, value, _) = words::aws(*key, *value);
            entity.aws(key, value);
        }
        What::Sql(fields, number) => sql(entity, *fields, *number),
        What::Request(fields, number) => request(entity, *fields, *number),
        What::Response(status, length) => entity.http_response(response(*status, *length)),
        What::Link(number) => link(entity, *number),
        What::User(number) => entity.set_user(&words::text(*number)),
        What::Version(number) => entity.set_service_version(&words::text(*number)),
        What::Origin(number) => entity.set_origin(&words::text(*number)),
        What::Name(number) => entity.set_name(&words::name(*number)),
        What::Mark(class) => entity.mark(*class),
        What::Raise(class) => entity.raise(*class),
        What::Failure(failure, fault) => words::record(entity, *failure, *fault),
        What::Exception(number, class) => {
            entity.record_exception("Told", &format!("told {number}"), *class);
        }
        What::Panicked(number) => {
            let payload: Box<dyn Any + Send> = Box::new(format!("panicked {number}"));
            entity.record_panic(&*payload);
        }
        What::Flood { one_key } => flood(entity, *one_key),
        What::Traced | What::Precursor(_) => {}
    }
}

fn response(status: u16, length: Option<u64>) -> HttpResponse {
    let response = HttpResponse::new(status);
    length.map_or(response, |length| response.content_length(length))
}

fn request(entity: &Entity, fields: u8, number: u8) {
    let method = if fields & 1 == 0 { "GET" } else { "POST" };
    let url = format!("https://me:secret@shop.example/orders/{number}?token=t");
    let agent = format!("agent {number}");
    let mut request = HttpRequest::new(method, &url);
    if fields & 2 != 0 {
        request = request.user_agent(&agent);
    }
    if fields & 4 != 0 {
        request = request.client_ip("203.0.113.9");
    }
    if fields & 8 != 0 {
        request = request.forwarded_for("203.0.113.7, 10.0.0.1");
    }
    entity.http_request(&request);
}

fn sql(entity: &Entity, fields: u8, number: u8) {
    let url = format!("postgresql://me:secret@db:5432/orders{number}");
    let (query, user) = (format!("SELECT {number}"), format!("user {number}"));
    let mut sql = Sql::new();
    if fields & 1 != 0 {
        sql = sql.url(&url);
    }
    if fields & 2 != 0 {
        sql = sql.sanitized_query(&query);
    }
    if fields & 4 != 0 {
        sql = sql.user(&user);
    }
    if fields & 8 != 0 {
        sql = sql.preparation(Preparation::Call);
    }
    entity.sql(&sql);
}

fn link(entity: &Entity, number: u8) {
    let trace_id = format!("1-66f2a1c0-{number:024x}").parse();
    let id = format!("{:016x}", u64::from(number) + 1).parse();
    if let (Ok(trace_id), Ok(id)) = (trace_id, id) {
        entity.link(trace_id, id);
    }
}

fn flood(entity: &Entity, one_key: bool) {
    for number in 0..FLOOD {
        if one_key {
            entity.annotate("f", number);
        } else {
            entity.annotate(&format!("f{number}"), number);
        }
    }
}
