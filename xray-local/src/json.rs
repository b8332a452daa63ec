//! Reads JSON without forgiving repeated keys, which `serde_json` does.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

/// Reads one JSON value; nesting is limited to `serde_json`'s 128.
pub(crate) fn read(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut first = serde_json::Deserializer::from_slice(text);
    NoRepeats.deserialize(&mut first)?;
    serde_json::from_slice(text)
}

/// Looks at the keys and keeps nothing.
struct NoRepeats;

impl<'de> DeserializeSeed<'de> for NoRepeats {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NoRepeats {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<(), A::Error> {
        while from.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = from.next_key::<String>()? {
            from.next_value_seed(Self)?;
            if let Some(repeated) = seen.replace(key) {
                return Err(A::Error::custom(format_args!("repeated key `{repeated}`")));
            }
        }
        Ok(())
    }
}
