//! JSON of any `Serialize`, within bounds that hold while it is written: the
//! level and the byte that are too many end it, and nothing is called again.
//!
//! The text is as serde_json writes it, but for characters that could deceive a
//! reader, which are escaped.

mod compound;
mod key;

use std::fmt::{self, Display, Write};

use serde::ser::{Error, Serialize, Serializer};

use self::compound::{Compound, Raw};
use super::bounded::Bounded;
use crate::encode::json::{escaped, harmless, integer, string};
use crate::limits;
use crate::scrub::scrubbed;

/// What becomes of a `null`, and of an object without members, that is a member
/// or an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    Kept,
    LeftOut,
}

/// Why there is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    TooLarge,
    TooDeep,
    /// Its `Serialize` says why.
    Refused(String),
}

/// The same as an error, in a box: what can fail is called for every byte or
/// two, and its result fits into a register.
#[derive(Debug, Clone)]
struct Stopped(Box<Stop>);

impl Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.0 {
            Stop::TooLarge => "too large",
            Stop::TooDeep => "too deep",
            Stop::Refused(why) => why,
        })
    }
}

impl std::error::Error for Stopped {}

impl Error for Stopped {
    fn custom<T: Display>(why: T) -> Self {
        let why = Bounded::of(&why, limits::MESSAGE_BYTES);
        let why = why.map(|why| scrubbed(&why.text, why.is_cut).into_owned());
        let why = why.unwrap_or_default();
        Self(Box::new(Stop::Refused(why)))
    }
}

/// The JSON text of a value.
///
/// # Errors
///
/// When it has more than 32 levels or 64 kB, or its `Serialize` fails.
pub(super) fn write(value: &impl Serialize, nulls: Nulls) -> Result<String, Stop> {
    let mut writer = Writer {
        out: Vec::with_capacity(128),
        limit: limits::METADATA_BYTES,
        levels: 0,
        calls: 0,
        nulls,
        stopped: None,
        has_raw: false,
    };
    let written = value.serialize(&mut writer);
    if let Some(stopped) = writer.stopped {
        return Err(*stopped.0);
    }
    written.map_err(|stopped| *stopped.0)?;
    let json = String::from_utf8(writer.out).unwrap_or_default();
    if !writer.has_raw {
        return Ok(json);
    }
    if depth(json.as_bytes()) > limits::METADATA_DEPTH {
        return Err(Stop::TooDeep);
    }
    Ok(harmless(json))
}

/// Calls of `serialize` within each other, of which some write nothing: a
/// newtype, an option.
const CALLS: usize = 4 * limits::METADATA_DEPTH;

#[derive(Debug)]
struct Writer {
    out: Vec<u8>,
    /// Bytes that there may be; none once it is stopped.
    limit: usize,
    /// Brackets that are open.
    levels: usize,
    calls: usize,
    nulls: Nulls,
    /// What ended it. A `Serialize` may go on all the same, but writes nothing.
    stopped: Option<Stopped>,
    /// Whether a text was taken as it was, which may have levels of its own.
    has_raw: bool,
}

impl Writer {
    #[cold]
    fn stop(&mut self, stop: Stop) -> Stopped {
        self.fail(Stopped(Box::new(stop)))
    }

    #[cold]
    fn fail(&mut self, stopped: Stopped) -> Stopped {
        self.limit = 0;
        self.stopped.get_or_insert(stopped).clone()
    }

    /// Whether there is room for so many bytes, and it is not stopped.
    #[inline]
    fn has_room(&mut self, bytes: usize) -> Result<(), Stopped> {
        if self.out.len() + bytes > self.limit {
            return Err(self.stop(Stop::TooLarge));
        }
        Ok(())
    }

    #[inline]
    fn put(&mut self, text: &str) -> Result<(), Stopped> {
        self.has_room(text.len())?;
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// A bracket, a comma or a colon.
    #[inline]
    fn sign(&mut self, sign: u8) -> Result<(), Stopped> {
        self.has_room(1)?;
        self.out.push(sign);
        Ok(())
    }

    #[inline]
    fn string(&mut self, text: &str) -> Result<(), Stopped> {
        self.has_room(text.len() + 2)?;
        self.out.reserve(text.len() + 3);
        string(&mut self.out, text);
        self.has_room(0) // escapes are longer
    }

    fn integer(&mut self, number: impl itoa::Integer) -> Result<(), Stopped> {
        integer(&mut self.out, number);
        self.has_room(0)
    }

    /// Finite numbers alone are JSON.
    fn float(&mut self, number: f64, write: impl Serialize) -> Result<(), Stopped> {
        if !number.is_finite() {
            return self.put("null");
        }
        // Writing a number to a vector cannot fail.
        let _ = serde_json::to_writer(&mut self.out, &write);
        self.has_room(0)
    }

    fn display(&mut self, value: &(impl Display + ?Sized)) -> Result<(), Stopped> {
        self.sign(b'"')?;
        if write!(Escaping(self), "{value}").is_err() {
            let why = "its Display failed".to_owned();
            return Err(self.stop(Stop::Refused(why)));
        }
        self.sign(b'"')
    }

    /// Opens a bracket. The level that is too deep is not entered.
    #[inline]
    fn open(&mut self, bracket: u8) -> Result<(), Stopped> {
        if self.levels == limits::METADATA_DEPTH {
            return Err(self.stop(Stop::TooDeep));
        }
        self.sign(bracket)?;
        self.levels += 1;
        Ok(())
    }

    /// Writes what lies within. What fails there may have been half written, so
    /// it ends everything.
    #[inline]
    fn inner(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Stopped> {
        if self.calls == CALLS {
            return Err(self.stop(Stop::TooDeep));
        }
        self.calls += 1;
        let written = value.serialize(&mut *self);
        self.calls -= 1;
        written.map_err(|stopped| self.fail(stopped))
    }
}

/// The inside of a string.
struct Escaping<'a>(&'a mut Writer);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.has_room(text.len()).map_err(|_| fmt::Error)?;
        escaped(&mut self.0.out, text);
        Ok(())
    }
}

macro_rules! integers {
    ($($method:ident: $number:ty),* $(,)?) => {$(
        fn $method(self, number: $number) -> Result<(), Stopped> {
            self.integer(number)
        }
    )*};
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Stopped;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_i128: i128, serialize_u128: u128,
    }

    fn serialize_bool(self, flag: bool) -> Result<(), Stopped> {
        self.put(if flag { "true" } else { "false" })
    }

    fn serialize_f32(self, number: f32) -> Result<(), Stopped> {
        self.float(f64::from(number), number)
    }

    fn serialize_f64(self, number: f64) -> Result<(), Stopped> {
        self.float(number, number)
    }

    fn serialize_char(self, character: char) -> Result<(), Stopped> {
        self.string(character.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), Stopped> {
        self.string(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Stopped> {
        let mut items = Compound::open(self, b'[', b']')?;
        bytes.iter().try_for_each(|byte| items.item(byte))?;
        items.close()
    }

    fn serialize_none(self) -> Result<(), Stopped> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stopped> {
        self.inner(value)
    }

    fn serialize_unit(self) -> Result<(), Stopped> {
        self.put("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Stopped> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Stopped> {
        self.string(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Stopped> {
        self.inner(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Stopped> {
        let mut member = Compound::open(self, b'{', b'}')?;
        member.member(variant, value)?;
        member.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>, Stopped> {
        Compound::open(self, b'[', b']')
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'a>, Stopped> {
        Compound::open(self, b'[', b']')
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>, Stopped> {
        Compound::open(self, b'[', b']')
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, Stopped> {
        Compound::open_in(self, variant, b'[', b']')
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a>, Stopped> {
        Compound::open(self, b'{', b'}')
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Compound<'a>, Stopped> {
        if Raw::is_named(name) {
            return Ok(Compound::raw(self));
        }
        Compound::open(self, b'{', b'}')
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, Stopped> {
        Compound::open_in(self, variant, b'{', b'}')
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Stopped> {
        self.display(value)
    }
}

/// How deep objects and arrays are nested in valid JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
                    if *byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
