//! Reading what others write: `null`s, numbers of any kind, and no failure over
//! a field that does not matter.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub(super) fn null_as_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

pub(super) fn without_nulls<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Map<String, Value>, D::Error> {
    let mut fields = Map::deserialize(from)?;
    fields.retain(|_, value| !value.is_null());
    Ok(fields)
}

/// Goes by way of `Value`, which reads numbers even when another crate of the
/// program turns on `serde_json`'s `arbitrary_precision`.
pub(super) fn lenient_number<'de, D: Deserializer<'de>, T: Number>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number
            .as_u64()
            .map_or_else(|| T::from_float(number.as_f64()?), T::from_integer),
        Value::String(text) => text.trim().parse().ok().and_then(T::from_float),
        _ => None,
    })
}

pub(super) trait Number: Sized {
    fn from_integer(value: u64) -> Option<Self>;
    fn from_float(value: f64) -> Option<Self>;
}

impl Number for f64 {
    fn from_integer(value: u64) -> Option<Self> {
        Some(value as Self)
    }

    fn from_float(value: f64) -> Option<Self> {
        value.is_finite().then_some(value)
    }
}

macro_rules! unsigned {
    ($($kind:ty),*) => {$(
        impl Number for $kind {
            fn from_integer(value: u64) -> Option<Self> {
                value.try_into().ok()
            }

            fn from_float(value: f64) -> Option<Self> {
                // Above 2^53 a float no longer tells one integer from the next.
                (value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&value))
                    .then_some(value as u64)
                    .and_then(Self::from_integer)
            }
        }
    )*};
}

unsigned!(u16, u32, u64);

/// JSON has no NaN and no infinity; `serde_json` would write `null`.
pub(super) fn is_unwritable(number: &Option<f64>) -> bool {
    number.is_none_or(|value| !value.is_finite())
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}
