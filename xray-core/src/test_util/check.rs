//! Holds an expectation against a tree, and says where they part.

use serde_json::Value;

use super::expect::{Expectation, What};
use super::tree::{self, Shown, is_segment, title};
use crate::document::Document;
use crate::{AnnotationValue, Class};

/// What was recorded is not what was expected. Its text names the path to the
/// step that differs, both sides of the difference, and the tree that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not as expected{path}\n  expected: {expected}\n  found:    {found}\nrecorded:\n{tree}")]
pub struct Mismatch {
    path: String,
    expected: String,
    found: String,
    tree: String,
}

/// Too many traces, or too few.
pub(super) fn wrong_number(expected: usize, traces: &[Document]) -> Mismatch {
    Mismatch {
        path: String::new(),
        expected: counted(expected),
        found: counted(traces.len()),
        tree: Shown(traces).to_string(),
    }
}

fn counted(traces: usize) -> String {
    match traces {
        0 => "no trace".to_owned(),
        1 => "one trace".to_owned(),
        _ => format!("{traces} traces"),
    }
}

pub(super) fn check(expectation: &Expectation, tree: &Document) -> Result<(), Mismatch> {
    compare(expectation, tree).map_err(|difference| {
        let path: Vec<_> = difference.path.into_iter().rev().collect();
        Mismatch {
            path: format!(" at {}", path.join(" > ")),
            expected: difference.expected,
            found: difference.found,
            tree: Shown(std::slice::from_ref(tree)).to_string(),
        }
    })
}

struct Difference {
    /// The innermost first.
    path: Vec<String>,
    expected: String,
    found: String,
}

impl Difference {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

fn compare(expectation: &Expectation, found: &Document) -> Result<(), Difference> {
    if !is_named(expectation, found) {
        let mut difference = Difference::new(expectation.title(), title(found));
        difference.path.push(title(found));
        return Err(difference);
    }
    let own = compare_own(expectation, found);
    own.and_then(|()| compare_children(expectation, found))
        .map_err(|mut difference| {
            difference.path.push(title(found));
            difference
        })
}

fn is_named(expectation: &Expectation, found: &Document) -> bool {
    expectation.name == found.name && expectation.is_segment == is_segment(found)
}

fn compare_own(expectation: &Expectation, found: &Document) -> Result<(), Difference> {
    for expected in &expectation.values {
        let value = (expected.find)(found);
        if !is_same(&expected.value, &value) {
            let what = &expected.what;
            let say = |value: &Value| match value {
                Value::Null => format!("no {what}"),
                value => format!("{what} = {value}"),
            };
            return Err(Difference::new(say(&expected.value), say(&value)));
        }
    }
    let mut left: Vec<_> = found
        .exceptions()
        .iter()
        .map(|exception| {
            let kind = exception.kind.as_deref().unwrap_or_default();
            (kind, exception.message.as_deref().unwrap_or_default())
        })
        .collect();
    for (kind, message) in &expectation.exceptions {
        match left.iter().position(|found| *found == (kind, message)) {
            Some(place) => drop(left.remove(place)),
            None => return Err(Difference::new(exception(kind, message), exceptions(&left))),
        }
    }
    if expectation.exact {
        if !left.is_empty() {
            return Err(Difference::new("no other exception", exceptions(&left)));
        }
        compare_exact(expectation, found)?;
    }
    Ok(())
}

/// Nothing is there that is not mentioned.
fn compare_exact(expectation: &Expectation, found: &Document) -> Result<(), Difference> {
    let is_mentioned = |what: &What| expectation.values.iter().any(|value| value.what == *what);
    let annotations = tree::annotations(found).into_iter();
    let annotations = annotations.map(|(key, value)| (What::Annotation(key.clone()), value));
    let metadata = tree::metadata(found).into_iter();
    let metadata = metadata.map(|(namespace, key, value)| {
        let what = What::Metadata(namespace.clone(), key.clone());
        (what, value)
    });
    for (what, value) in annotations.chain(metadata) {
        if !is_mentioned(&what) {
            let (expected, found) = (format!("no {what}"), format!("{what} = {value}"));
            return Err(Difference::new(expected, found));
        }
    }
    let class = class_of(found);
    if class != Class::Ok && !is_mentioned(&What::Class) {
        let found = format!("class = {:?}", class_name(class));
        return Err(Difference::new("nothing said of a failure", found));
    }
    Ok(())
}

fn compare_children(expectation: &Expectation, found: &Document) -> Result<(), Difference> {
    let taken = if expectation.any_order {
        assign(&expectation.children, &found.subsegments)?
    } else {
        follow(&expectation.children, &found.subsegments)?
    };
    let others: Vec<_> = found
        .subsegments
        .iter()
        .zip(taken)
        .filter(|(_, is_taken)| !is_taken)
        .map(|(child, _)| title(child))
        .collect();
    if expectation.exact && !others.is_empty() {
        return Err(Difference::new("no other child", others.join(", ")));
    }
    Ok(())
}

/// Which of the children found are those expected, in this order. Taking the
/// first that fits leaves the most for those that come after.
fn follow(expected: &[Expectation], found: &[Document]) -> Result<Vec<bool>, Difference> {
    let mut taken = vec![false; found.len()];
    let mut from = 0;
    for child in expected {
        let rest = &found[from..];
        match rest.iter().position(|found| compare(child, found).is_ok()) {
            Some(place) => {
                taken[from + place] = true;
                from += place + 1;
            }
            None if found[..from]
                .iter()
                .any(|found| compare(child, found).is_ok())
                && !rest.iter().any(|found| is_named(child, found)) =>
            {
                let expected = format!("{} here in the order", child.title());
                return Err(Difference::new(expected, children(found)));
            }
            None => return Err(explain(child, rest, found)),
        }
    }
    Ok(taken)
}

/// Which of the children found are those expected, in any order: each expected
/// one takes one that fits, and whoever had it before looks for another.
fn assign(expected: &[Expectation], found: &[Document]) -> Result<Vec<bool>, Difference> {
    let fits: Vec<Vec<usize>> = expected
        .iter()
        .map(|child| {
            let fits = |place: &usize| compare(child, &found[*place]).is_ok();
            (0..found.len()).filter(fits).collect()
        })
        .collect();
    let mut taken: Vec<Option<usize>> = vec![None; found.len()];
    for (place, child) in expected.iter().enumerate() {
        if !place_one(place, &fits, &mut taken, &mut vec![false; found.len()]) {
            let free = found.iter().zip(&taken).filter(|(_, by)| by.is_none());
            let free: Vec<_> = free.map(|(child, _)| child.clone()).collect();
            return Err(explain(child, &free, found));
        }
    }
    Ok(taken.iter().map(Option::is_some).collect())
}

fn place_one(
    child: usize,
    fits: &[Vec<usize>],
    taken: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    fits[child].iter().any(|&place| {
        if std::mem::replace(&mut tried[place], true) {
            return false;
        }
        let is_free = match taken[place] {
            None => true,
            Some(other) => place_one(other, fits, taken, tried),
        };
        if is_free {
            taken[place] = Some(child);
        }
        is_free
    })
}

/// Why none of those left is the one expected: if one has its name, by what it
/// differs.
fn explain(expected: &Expectation, left: &[Document], all: &[Document]) -> Difference {
    let namesakes = left.iter().filter(|found| is_named(expected, found));
    let mut differences = namesakes.filter_map(|found| compare(expected, found).err());
    differences.next().unwrap_or_else(|| {
        let another = if all.iter().any(|found| is_named(expected, found)) {
            "another"
        } else {
            "a"
        };
        let wanted = format!("{another} child {}", expected.title());
        Difference::new(wanted, children(all))
    })
}

fn children(found: &[Document]) -> String {
    if found.is_empty() {
        return "no children".to_owned();
    }
    let titles: Vec<_> = found.iter().map(title).collect();
    format!("children {}", titles.join(", "))
}

fn exception(kind: &str, message: &str) -> String {
    format!("exception {kind}: {message:?}")
}

fn exceptions(left: &[(&str, &str)]) -> String {
    if left.is_empty() {
        return "no other exception".to_owned();
    }
    let all: Vec<_> = left
        .iter()
        .map(|(kind, message)| exception(kind, message))
        .collect();
    all.join(", ")
}

/// Numbers by value: what was recorded as 7.0 is written as 7.
fn is_same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || (left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64()
        }
        _ => expected == found,
    }
}

pub(super) fn json(value: AnnotationValue<'_>) -> Value {
    match value {
        AnnotationValue::Text(text) => Value::from(text),
        AnnotationValue::Integer(number) => Value::from(number),
        AnnotationValue::Unsigned(number) => Value::from(number),
        AnnotationValue::Float(number) if number.is_nan() => Value::from("NaN"),
        AnnotationValue::Float(f64::INFINITY) => Value::from("Infinity"),
        AnnotationValue::Float(f64::NEG_INFINITY) => Value::from("-Infinity"),
        AnnotationValue::Float(number) => Value::from(number),
        AnnotationValue::Boolean(flag) => Value::from(flag),
    }
}

pub(super) fn class_of(found: &Document) -> Class {
    if found.fault {
        Class::Fault
    } else if found.throttle {
        Class::Throttle
    } else if found.error {
        Class::Error
    } else {
        Class::Ok
    }
}

pub(super) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Ok => "ok",
        Class::Error => "error",
        Class::Throttle => "throttle",
        Class::Fault => "fault",
    }
}

impl Expectation {
    fn title(&self) -> String {
        let kind = if self.is_segment {
            "segment"
        } else {
            "subsegment"
        };
        format!("{kind} {:?}", self.name)
    }
}
