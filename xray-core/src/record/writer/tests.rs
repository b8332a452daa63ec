use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::*;

#[derive(Serialize, Default)]
struct Unit;
#[derive(Serialize)]
struct New<T>(T);
#[derive(Serialize)]
struct Pair(u8, char);
#[derive(Serialize)]
struct Fields<T> {
    first: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<u8>,
}
#[derive(Serialize)]
enum Any {
    Unit,
    New(u8),
    Tuple(u8, u8),
    Fields { a: u8, b: Option<u8> },
}
#[derive(Serialize)]
struct Flat {
    a: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}
#[derive(Serialize)]
#[serde(tag = "type")]
enum Tagged {
    A { x: u8 },
}

struct Shown(&'static str);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

struct Bytes(&'static [u8]);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// A map of one entry.
struct Entry<K>(K);

impl<K: Serialize> Serialize for Entry<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(&self.0, 1)])
    }
}

fn kept(value: &impl Serialize) -> Result<String, Stop> {
    write(value, Nulls::Kept)
}

fn same(value: &impl Serialize) {
    match (kept(value), serde_json::to_string(value)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Err(Stop::Refused(_)), Err(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_value_is_as_serde_json_writes_it() {
    same(&(true, (), -1i8, -2i16, -3i32, -4i64, 5u8, 6u16, 7u32, 8u64));
    same(&(
        u128::MAX,
        i128::MIN,
        0.1f32,
        0.1f64,
        f32::NAN,
        f64::INFINITY,
    ));
    same(&(1e300, -0.0, 1e16, f32::MAX, f64::MIN_POSITIVE));
    same(&('ß', "a\"b\\c\nd\u{1}é€", None::<u8>, Some(1), Unit));
    same(&(New(1), Pair(1, 'a'), Bytes(b"\0a"), Bytes(b"")));
    same(&(Any::Unit, Any::New(1), Any::Tuple(1, 2)));
    same(&Any::Fields { a: 1, b: None });
    same(&(
        Fields {
            first: 1,
            second: None,
        },
        Fields {
            first: "",
            second: Some(1),
        },
    ));
    same(&Flat {
        a: 1,
        rest: BTreeMap::from([("b".to_owned(), 2)]),
    });
    same(&(
        Tagged::A { x: 1 },
        Shown("a\"\n"),
        Vec::<u8>::new(),
        [[1, 2], [3, 4]],
    ));
    same(&json!({"a": [1, {"b": null}], "": {}, "c": []}));
    same(&format_args!("{}-{}", 1, 2));
}

#[test]
fn every_kind_of_key_is_as_serde_json_writes_it() {
    same(&(
        Entry(true),
        Entry(-1i8),
        Entry(2u64),
        Entry(u128::MAX),
        Entry(i128::MIN),
    ));
    same(&(
        Entry(0.5f32),
        Entry(0.1f64),
        Entry('ß'),
        Entry("a\n"),
        Entry(Any::Unit),
    ));
    same(&(Entry(New("a")), Entry(Some("a")), Entry(Shown("a\""))));
    same(&Entry(f64::NAN));
    same(&Entry(()));
    same(&Entry(None::<u8>));
    same(&Entry([1]));
    same(&Entry((1, 2)));
    same(&Entry(Pair(1, 'a')));
    same(&Entry(Unit));
    same(&Entry(Any::New(1)));
    same(&Entry(Any::Tuple(1, 2)));
    same(&Entry(Any::Fields { a: 1, b: None }));
    same(&Entry(Fields {
        first: 1,
        second: None,
    }));
    same(&Entry(Bytes(b"a")));
    same(&Entry(Entry(1)));
}

const EMPTY: &str = "{}";

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// As [`Nulls::LeftOut`] says, from the leaves up.
fn stripped(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(items) => Some(items.into_iter().filter_map(stripped).collect()),
        Value::Object(members) => {
            let kept = members.into_iter();
            let kept = kept.filter_map(|(key, value)| Some((key, stripped(value)?)));
            let kept: serde_json::Map<String, Value> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        other => Some(other),
    }
}

proptest! {
    #[test]
    fn any_value_reads_back(value in values()) {
        let text = kept(&value).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
        let text = write(&value, Nulls::LeftOut).unwrap();
        let written: Value = serde_json::from_str(&text).unwrap();
        match stripped(value) {
            Some(expected) => prop_assert_eq!(written, expected),
            None => prop_assert!(text == "null" || text == EMPTY),
        }
    }
}

#[test]
fn what_could_deceive_a_reader_is_escaped() {
    let hostile = "\u{202e}\u{7f}";
    let escaped = "\\u202e\\u007f";
    assert_eq!(kept(&hostile).unwrap(), format!("\"{escaped}\""));
    assert_eq!(
        kept(&Entry(Shown(hostile))).unwrap(),
        format!("{{\"{escaped}\":1}}")
    );
}

/// A value of so many arrays, one in the other.
struct Arrays(usize);

impl Serialize for Arrays {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..1).take(self.0).map(|_| Self(self.0 - 1)))
    }
}

#[test]
fn the_33rd_level_is_not_entered() {
    // An empty one is a level, too.
    assert_eq!(depth(kept(&Arrays(31)).unwrap().as_bytes()), 32);
    assert_eq!(kept(&Arrays(32)), Err(Stop::TooDeep));
    let deep = (0..31).fold(json!(1), |inner, _| json!({ "a": inner }));
    assert!(kept(&deep).is_ok());
    assert!(kept(&Any::New(1)).is_ok());
    assert!(kept(&[&deep]).is_ok());
    assert_eq!(kept(&[[&deep]]), Err(Stop::TooDeep));
    assert_eq!(
        kept(&New(Some(BTreeMap::from([(1, [&deep])])))),
        Err(Stop::TooDeep)
    );
}

/// As serde has it under its feature `rc`.
struct Shared<T>(Rc<T>);

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Serialize)]
struct Node {
    next: Option<Shared<Self>>,
}

/// A ring, and one whose levels write nothing at all.
#[derive(Serialize)]
struct Ring(RefCell<Option<Shared<Self>>>);

#[test]
fn depth_and_rings_cost_no_stack() {
    let work = || {
        let list = (0..20_000).fold(None, |next, _| Some(Shared(Rc::new(Node { next }))));
        assert_eq!(kept(&list), Err(Stop::TooDeep));
        let mut rest = list;
        while let Some(node) = rest {
            rest = Rc::into_inner(node.0).and_then(|node| node.next);
        }
        let ring = Rc::new(Ring(RefCell::new(None)));
        *ring.0.borrow_mut() = Some(Shared(ring.clone()));
        assert_eq!(kept(&*ring), Err(Stop::TooDeep));
        assert_eq!(write(&*ring, Nulls::LeftOut), Err(Stop::TooDeep));
        *ring.0.borrow_mut() = None;
    };
    let small = std::thread::Builder::new().stack_size(256 << 10);
    small.spawn(work).unwrap().join().unwrap();
}

#[test]
fn the_byte_that_is_too_many_ends_it() {
    let limit = limits::METADATA_BYTES;
    assert_eq!(kept(&"x".repeat(limit - 2)).unwrap().len(), limit);
    assert_eq!(kept(&"x".repeat(limit - 1)), Err(Stop::TooLarge));
    // Escapes count as they are written.
    assert_eq!(kept(&"\n".repeat(limit / 2)), Err(Stop::TooLarge));
    assert_eq!(
        kept(&format_args!("{}", "\n".repeat(limit / 2))),
        Err(Stop::TooLarge)
    );
    let calls = Cell::new(0);
    let endless = std::iter::repeat_with(|| calls.set(calls.get() + 1));
    struct Seq<I>(RefCell<I>);
    impl<I: Iterator<Item: Serialize>> Serialize for Seq<I> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(&mut *self.0.borrow_mut())
        }
    }
    assert_eq!(kept(&Seq(RefCell::new(endless))), Err(Stop::TooLarge));
    // `null,` each
    assert_eq!(calls.get(), limit.div_ceil(5));
}

/// Writes on, whatever the serializer says.
struct Stubborn<T>(T);

impl<T: Serialize> Serialize for Stubborn<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut items = serializer.serialize_seq(None)?;
        let _ = items.serialize_element(&self.0);
        let _ = items.serialize_element(&1);
        items.end()
    }
}

#[test]
fn what_stopped_once_does_not_go_on() {
    assert_eq!(kept(&Stubborn(1)).unwrap(), "[1,1]");
    assert_eq!(kept(&Stubborn(Arrays(40))), Err(Stop::TooDeep));
    assert_eq!(kept(&Stubborn("x".repeat(70_000))), Err(Stop::TooLarge));
    let refused = Stop::Refused("key must be a string".to_owned());
    assert_eq!(kept(&Stubborn(Entry(()))), Err(refused));
}

/// Named as serde_json names its own.
struct Raw(&'static str);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut raw = serializer.serialize_struct("$serde_json::private::RawValue", 1)?;
        raw.serialize_field("$serde_json::private::RawValue", self.0)?;
        raw.end()
    }
}

#[test]
fn raw_json_is_taken_as_it_is_within_the_same_bounds() {
    let text = "{\"a\": 340282366920938463463374607431768211455, \"b\":null}";
    assert_eq!(kept(&[Raw(text)]).unwrap(), format!("[{text}]"));
    assert_eq!(kept(&Raw("\"\u{202e}\"")).unwrap(), "\"\\u202e\"");
    assert_eq!(write(&Raw("{\"b\":null}"), Nulls::LeftOut).unwrap(), "{}");
    assert!(matches!(kept(&Raw("{")), Err(Stop::Refused(_))));
    let deep: &str = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]";
    assert!(kept(&Raw(deep)).is_ok());
    assert_eq!(kept(&[Raw(deep)]), Err(Stop::TooDeep));
    assert_eq!(write(&[Raw(deep)], Nulls::LeftOut), Err(Stop::TooDeep));
}

#[test]
fn raw_json_that_no_reader_takes_is_refused() {
    for text in [
        "1e999",
        "[-1e400]",
        r#""\ud800""#,
        r#"{"\udc00":1}"#,
        r#"["\ud800\n"]"#,
    ] {
        assert!(matches!(kept(&Raw(text)), Err(Stop::Refused(_))), "{text}");
        let written = write(&Raw(text), Nulls::LeftOut);
        assert!(matches!(written, Err(Stop::Refused(_))), "{text}");
    }
    let text = r#"[1e-999,1e308,"\ud83d\ude00",{"a":[true,null]}]"#;
    assert_eq!(kept(&Raw(text)).unwrap(), text);
}

/// Makes one call after the other, whether they fit together or not.
struct Calls<'a>(&'a str);

impl Serialize for Calls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{SerializeMap, SerializeStruct};
        const RAW: &str = "$serde_json::private::RawValue";
        if let Some(texts) = self.0.strip_prefix("raw") {
            let mut raw = serializer.serialize_struct(RAW, 1)?;
            for text in texts.split_terminator(',') {
                let _ = raw.serialize_field(RAW, text);
            }
            return raw.end();
        }
        let mut map = serializer.serialize_map(None)?;
        for call in self.0.chars() {
            let _ = match call {
                'v' => map.serialize_value(&1),
                key => map.serialize_key(&key),
            };
        }
        map.end()
    }
}

#[test]
fn calls_of_which_no_json_comes_are_refused() {
    assert_eq!(kept(&Calls("avbv")).unwrap(), r#"{"a":1,"b":1}"#);
    assert_eq!(kept(&Calls("raw1")).unwrap(), "1");
    for calls in ["ab", "abv", "a", "v", "avv", "ava", "raw", "raw1,2"] {
        for nulls in [Nulls::Kept, Nulls::LeftOut] {
            let written = write(&[Calls(calls)], nulls);
            assert!(matches!(written, Err(Stop::Refused(_))), "{calls}");
        }
    }
}

#[test]
fn what_is_left_out_has_an_end_too() {
    for empty in ["null", EMPTY] {
        let empty: Value = serde_json::from_str(empty).unwrap();
        let asked = Cell::new(0);
        let items = std::iter::repeat_with(|| asked.set(asked.get() + 1));
        let items = RefCell::new(items.map(|()| &empty).take(1_000_000));
        struct Items<I>(RefCell<I>);
        impl<I: Iterator<Item: Serialize>> Serialize for Items<I> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(&mut *self.0.borrow_mut())
            }
        }
        assert_eq!(write(&Items(items), Nulls::LeftOut), Err(Stop::TooLarge));
        assert!(asked.get() < limits::METADATA_BYTES, "{empty}");
    }
    let nulls = vec![None::<u8>; 9_000];
    assert_eq!(write(&nulls, Nulls::LeftOut).unwrap(), "[]");
}

#[test]
fn depth_counts_brackets_outside_of_strings() {
    for (json, expected) in [
        ("1", 0),
        (r#""[[{\"[\\""#, 0),
        (r#"{"a":[{"b":"]"},[]]}"#, 3),
    ] {
        assert_eq!(depth(json.as_bytes()), expected, "{json}");
    }
}
