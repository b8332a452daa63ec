//! The document model and the bytes on the wire say the same of every piece,
//! whatever was recorded in whatever order.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::{Joined, Pieces, balance, builder, rejoin, written};
use proptest::prelude::*;
use serde_json::{Value, json};
use xray_core::{
    AnnotationValue, Class, Emitter, Entity, ExceptionReport, Hold, HttpRequest, HttpResponse,
    ManualClock, Namespace, Piece, Preparation, Sql, Subsegment, Tally, TraceHeader,
};

/// What a program may do. Entities are named by number, modulo how many there
/// are; the root is 0.
#[derive(Debug, Clone)]
enum Op {
    Begin(usize, String, u8),
    Close(usize),
    CloseAt(usize, i64),
    CloseRoot,
    Rename(usize, String),
    Annotate(usize, String, AnnotationValue<'static>),
    Metadata(usize, String, String, Value),
    Float(usize, String, f64),
    Request(usize, String, String, bool),
    Response(usize, u16, Option<u64>),
    Mark(usize, Class),
    Fault(usize, Vec<String>),
    Exception(usize, String, String),
    Report(usize, String, String, u32),
    Raise(usize, Class),
    Aws(usize, String, Value),
    Sql(usize, u8, String),
    Link(usize, usize),
    Tally(usize, String, Tally<'static>),
    User(usize, String),
    Origin(usize, String),
    Version(usize, String),
    Precursor(usize, usize),
    Traced(usize),
    Hold(usize),
    Release,
    Advance(u32),
}

/// Few different keys, so that they come twice; some of them join to the same
/// text, some become the same key once valid.
fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "ab", "b", "bc", "", "a b", "a_b"])
            .prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        1 => "[a-c\u{202e}\u{2028}\"\\\\é東𝒳]{0,40}",
        1 => (190usize..300, prop::sample::select(vec!["x", "é", "東", "𝒳"]))
            .prop_map(|(times, text)| text.repeat(times)),
    ]
}

fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<u64>().prop_map(f64::from_bits),
        prop::sample::select(vec![
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            1e308,
            5e-324,
            (1u64 << 53) as f64
        ]),
    ]
}

fn annotations() -> impl Strategy<Value = AnnotationValue<'static>> {
    prop_oneof![
        texts().prop_map(AnnotationValue::from),
        any::<i64>().prop_map(AnnotationValue::from),
        any::<u64>().prop_map(AnnotationValue::from),
        floats().prop_map(AnnotationValue::from),
        any::<bool>().prop_map(AnnotationValue::from),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<String>().prop_map(Value::from),
        floats().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (any::<String>(), any::<i64>()).prop_map(|(key, n)| json!({ key: [n, { "x": null }] })),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    // Mostly one of a few, so that much happens to one entity.
    let of = || prop_oneof![3 => 0usize..3, 1 => any::<usize>()];
    prop_oneof![
        6 => (of(), texts(), 0u8..3).prop_map(|(of, name, kind)| Op::Begin(of, name, kind)),
        4 => of().prop_map(Op::Close),
        1 => (of(), any::<i32>()).prop_map(|(of, at)| Op::CloseAt(of, i64::from(at))),
        1 => Just(Op::CloseRoot),
        1 => (of(), texts()).prop_map(|(of, name)| Op::Rename(of, name)),
        3 => (of(), keys(), annotations()).prop_map(|(of, key, value)| Op::Annotate(of, key, value)),
        3 => (of(), keys(), keys(), values())
            .prop_map(|(of, namespace, key, value)| Op::Metadata(of, namespace, key, value)),
        // Namespace and key in one, these are all the same.
        2 => (of(), 0usize..5, values()).prop_map(|(of, at, value)| {
            let (namespace, key) = "team".split_at(at);
            Op::Metadata(of, namespace.into(), key.into(), value)
        }),
        1 => (of(), keys(), floats()).prop_map(|(of, key, value)| Op::Float(of, key, value)),
        1 => (of(), texts(), texts(), any::<bool>())
            .prop_map(|(of, url, agent, forwarded)| Op::Request(of, url, agent, forwarded)),
        1 => (of(), any::<u16>(), any::<Option<u64>>())
            .prop_map(|(of, status, length)| Op::Response(of, status, length)),
        1 => (of(), prop::sample::select(vec![Class::Ok, Class::Error, Class::Throttle, Class::Fault]))
            .prop_map(|(of, class)| Op::Mark(of, class)),
        2 => (of(), prop::collection::vec("[a-c]", 1..4)).prop_map(|(of, chain)| Op::Fault(of, chain)),
        1 => (of(), texts(), texts()).prop_map(|(of, kind, text)| Op::Exception(of, kind, text)),
        1 => (of(), texts(), texts(), 0u32..60)
            .prop_map(|(of, kind, text, frames)| Op::Report(of, kind, text, frames)),
        1 => (of(), prop::sample::select(vec![Class::Ok, Class::Error, Class::Throttle, Class::Fault]))
            .prop_map(|(of, class)| Op::Raise(of, class)),
        2 => (of(), keys(), values()).prop_map(|(of, key, value)| Op::Aws(of, key, value)),
        2 => (of(), any::<u8>(), texts()).prop_map(|(of, fields, text)| Op::Sql(of, fields, text)),
        1 => (of(), of()).prop_map(|(of, to)| Op::Link(of, to)),
        2 => (of(), keys(), prop_oneof![
                floats().prop_map(Tally::Sum),
                floats().prop_map(Tally::Max),
                any::<bool>().prop_map(Tally::Any),
                annotations().prop_map(Tally::Last),
            ]).prop_map(|(of, key, tally)| Op::Tally(of, key, tally)),
        1 => (of(), texts()).prop_map(|(of, user)| Op::User(of, user)),
        1 => (of(), texts()).prop_map(|(of, origin)| Op::Origin(of, origin)),
        1 => (of(), texts()).prop_map(|(of, version)| Op::Version(of, version)),
        1 => (of(), of()).prop_map(|(of, before)| Op::Precursor(of, before)),
        1 => of().prop_map(Op::Traced),
        1 => of().prop_map(Op::Hold),
        1 => Just(Op::Release),
        2 => any::<u32>().prop_map(Op::Advance),
    ]
}

/// Some of its fields, a bit each.
fn sql(fields: u8, text: &str) -> Sql<'_> {
    let mut sql = Sql::new();
    if fields & 1 != 0 {
        sql = sql.url(text);
    }
    if fields & 2 != 0 {
        sql = sql.connection_string(text);
    }
    if fields & 4 != 0 {
        sql = sql.sanitized_query(text);
    }
    if fields & 8 != 0 {
        sql = sql.database_type(text).database_version(text);
    }
    if fields & 16 != 0 {
        sql = sql.driver_version(text);
    }
    if fields & 32 != 0 {
        sql = sql.user(text);
    }
    if fields & 64 != 0 {
        sql = sql.preparation(Preparation::Call);
    }
    sql
}

/// An error with sources.
#[derive(Debug)]
struct Chain(String, Option<Box<Self>>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Chain {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

fn chain(messages: &[String]) -> Chain {
    let link =
        |below: Option<Box<Chain>>, text: &String| Some(Box::new(Chain(text.clone(), below)));
    *messages.iter().rev().fold(None, link).unwrap()
}

type Tree = BTreeMap<String, Joined>;

/// Takes each piece both ways.
#[derive(Debug, Clone, Default)]
struct BothWays(Arc<Mutex<Vec<(Tree, Tree)>>>);

impl Emitter for BothWays {
    fn emit(&self, piece: Piece) {
        let model = piece.to_documents();
        let model = rejoin(model.iter().map(|d| serde_json::to_value(d).unwrap()));
        let bytes = rejoin(written(piece, 65_474));
        self.0.lock().unwrap().push((model, bytes));
    }
}

/// Carries out `ops`, and returns the parents of all entities ever begun.
fn perform(
    ops: &[Op],
    facade: bool,
    emitter: impl Emitter,
) -> (BTreeMap<String, Option<String>>, xray_core::Recorder) {
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let clock = Arc::new(ManualClock::at(epoch));
    let recorder = builder(emitter)
        .clock(clock.clone())
        .service_version("1.2.3")
        .origin("AWS::ECS::Container")
        .build()
        .unwrap();
    let header = TraceHeader::parse(
        "Root=1-66f2a1c0-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1",
    );
    let mut root = Some(if facade {
        recorder.begin_facade(&header)
    } else {
        recorder.segment("root").header(&header).begin()
    });
    let mut handles: Vec<Option<Subsegment>> = vec![None];
    let mut entities: Vec<Entity> = vec![Entity::clone(root.as_ref().unwrap())];
    let mut holds: Vec<Hold> = Vec::new();
    let id = |entity: &Entity| entity.id().unwrap().to_string();
    let mut parents = BTreeMap::new();
    if !facade {
        parents.insert(id(&entities[0]), Some("53995c3f42cd8ad8".to_owned()));
    }
    for op in ops {
        let at = |of: &usize| of % entities.len();
        let entity = |of: &usize| &entities[of % entities.len()];
        match op {
            Op::Begin(of, name, kind) => {
                let parent = entity(of).clone();
                let child = parent.subsegment(name);
                let child = match kind {
                    0 => child.begin(),
                    1 => child.namespace(Namespace::Aws).begin(),
                    _ => child.namespace(Namespace::Remote).begin(),
                };
                parents.insert(id(&child), Some(id(&parent)));
                entities.push(child.clone());
                handles.push(Some(child));
            }
            Op::Close(of) => drop(handles[at(of)].take()),
            Op::CloseAt(of, millis) => {
                if let Some(handle) = handles[at(of)].take() {
                    let by = Duration::from_millis(millis.unsigned_abs());
                    handle.close_at(if *millis < 0 { epoch - by } else { epoch + by });
                }
            }
            Op::CloseRoot => drop(root.take()),
            Op::Rename(of, name) => entity(of).set_name(name),
            Op::Report(of, kind, text, frames) => {
                let mut report = ExceptionReport::new(kind, text).skipped(frames % 3);
                for line in 0..*frames {
                    report = report.frame(text, line, kind);
                }
                entity(of).report_exception(&report.remote(), Class::Throttle);
            }
            Op::Raise(of, class) => entity(of).raise(*class),
            Op::Aws(of, key, value) => entity(of).aws(key, value),
            Op::Sql(of, fields, text) => entity(of).sql(&sql(*fields, text)),
            Op::Link(of, to) => entity(of).link(
                "1-66f2a1c0-0123456789abcdef01234567".parse().unwrap(),
                entity(to).id().unwrap(),
            ),
            Op::Annotate(of, key, value) => entity(of).annotate(key, value.clone()),
            Op::Metadata(of, namespace, key, value) => {
                entity(of).metadata_in(namespace, key, value);
            }
            Op::Float(of, key, value) => entity(of).metadata(key, value),
            Op::Request(of, url, agent, forwarded) => {
                let request = HttpRequest::new("GET", url).user_agent(agent);
                entity(of).http_request(&if *forwarded {
                    request.forwarded_for(agent)
                } else {
                    request.client_ip("203.0.113.9")
                });
            }
            Op::Response(of, status, length) => {
                let response = HttpResponse::new(*status);
                entity(of).http_response(match length {
                    Some(bytes) => response.content_length(*bytes),
                    None => response,
                });
            }
            Op::Mark(of, class) => entity(of).mark(*class),
            Op::Fault(of, messages) => entity(of).record_fault(&chain(messages)),
            Op::Exception(of, kind, text) => {
                entity(of).record_exception(kind, text, Class::Error);
            }
            Op::Tally(of, key, tally) => entity(of).segment().tally(key, tally.clone()),
            Op::User(of, user) => entity(of).set_user(user),
            Op::Origin(of, origin) => entity(of).set_origin(origin),
            Op::Version(of, version) => entity(of).set_service_version(version),
            Op::Precursor(of, before) => {
                entity(of).add_precursor(entity(before).id().unwrap());
            }
            Op::Traced(of) => {
                if let Some(handle) = &handles[at(of)] {
                    handle.set_traced();
                }
            }
            Op::Hold(of) => holds.push(entity(of).hold()),
            Op::Release => drop(holds.pop()),
            Op::Advance(nanos) => clock.advance(Duration::from_nanos(u64::from(*nanos))),
        }
    }
    drop(root);
    drop(handles);
    drop(holds);
    drop(entities);
    (parents, recorder)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1_000)
    })]

    #[test]
    fn both_ways_give_one_tree(ops in prop::collection::vec(ops(), 0..60), facade: bool) {
        let emitter = BothWays::default();
        let (parents, recorder) = perform(&ops, facade, emitter.clone());
        balance(&recorder);
        let mut all = Tree::new();
        for (model, bytes) in std::mem::take(&mut *emitter.0.lock().unwrap()) {
            prop_assert_eq!(&model, &bytes);
            for (id, joined) in bytes {
                prop_assert!(all.insert(id, joined).is_none(), "sent twice");
            }
        }
        let found = all.into_iter().map(|(id, joined)| (id, joined.parent)).collect();
        prop_assert_eq!(parents, found);
    }

    /// The queue carries pieces, not documents: whoever sends one chooses the
    /// limit, and every limit gives the same tree.
    #[test]
    fn every_limit_gives_one_tree(
        names in prop::collection::vec((any::<usize>(), "[a-z]{1,30}"), 1..80),
        limit in 1_024usize..8_000,
    ) {
        let ops: Vec<Op> = names
            .iter()
            .flat_map(|(of, name)| {
                let begin = Op::Begin(*of, name.clone(), 0);
                [begin, Op::Annotate(*of, name.clone(), 7.into())]
            })
            .collect();
        let trees = [limit, 65_474].map(|limit| {
            let pieces = Pieces::default();
            let (parents, recorder) = perform(&ops, false, pieces.clone());
            let documents = pieces.take().into_iter().flat_map(|piece| written(piece, limit));
            let tree = rejoin(documents);
            balance(&recorder);
            (parents.len(), tree.len(), names_and_parents(&tree))
        });
        prop_assert_eq!(trees[0].0, trees[0].1);
        prop_assert_eq!(&trees[0], &trees[1]);
    }
}

/// A tree without its ids, which differ between two runs.
fn names_and_parents(tree: &Tree) -> Vec<String> {
    let mut lines: Vec<String> = tree
        .values()
        .map(|joined| {
            let above = joined.parent.as_ref().and_then(|id| tree.get(id));
            let above = above.map_or("", Joined::name);
            format!(
                "{}<{above} {:?}",
                joined.name(),
                joined.own.get("annotations")
            )
        })
        .collect();
    lines.sort();
    lines
}
