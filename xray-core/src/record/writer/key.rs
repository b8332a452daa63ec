//! Keys of maps: as serde_json has them, texts, and numbers and the like in
//! quotes.

use std::fmt::Display;

use serde::ser::{Error, Impossible, Serialize, Serializer};

use super::compound::{refused, refused_calls};
use super::{CALLS, Stop, Stopped, Writer};

pub(super) struct Key<'a>(pub(super) &'a mut Writer);

impl Key<'_> {
    fn refused() -> Stopped {
        Stopped::custom("key must be a string")
    }

    fn quoted(self, write: impl FnOnce(&mut Writer) -> Result<(), Stopped>) -> Result<(), Stopped> {
        self.0.sign(b'"')?;
        write(self.0)?;
        self.0.sign(b'"')
    }

    fn float(self, number: f64, write: impl Serialize) -> Result<(), Stopped> {
        if !number.is_finite() {
            return Err(Stopped::custom("float key must be finite"));
        }
        self.quoted(|writer| writer.float(number, write))
    }

    fn inner(self, key: &(impl Serialize + ?Sized)) -> Result<(), Stopped> {
        let writer = self.0;
        if writer.calls == CALLS {
            return Err(writer.stop(Stop::TooDeep));
        }
        writer.calls += 1;
        let written = key.serialize(Key(writer));
        writer.calls -= 1;
        written
    }
}

macro_rules! integers {
    ($($method:ident: $number:ty),* $(,)?) => {$(
        fn $method(self, number: $number) -> Result<(), Stopped> {
            self.quoted(|writer| writer.integer(number))
        }
    )*};
}

impl Serializer for Key<'_> {
    type Ok = ();
    type Error = Stopped;
    type SerializeSeq = Impossible<(), Stopped>;
    type SerializeTuple = Impossible<(), Stopped>;
    type SerializeTupleStruct = Impossible<(), Stopped>;
    type SerializeTupleVariant = Impossible<(), Stopped>;
    type SerializeMap = Impossible<(), Stopped>;
    type SerializeStruct = Impossible<(), Stopped>;
    type SerializeStructVariant = Impossible<(), Stopped>;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_i128: i128, serialize_u128: u128,
    }

    fn serialize_bool(self, flag: bool) -> Result<(), Stopped> {
        self.0.string(if flag { "true" } else { "false" })
    }

    fn serialize_f32(self, number: f32) -> Result<(), Stopped> {
        self.float(f64::from(number), number)
    }

    fn serialize_f64(self, number: f64) -> Result<(), Stopped> {
        self.float(number, number)
    }

    fn serialize_char(self, character: char) -> Result<(), Stopped> {
        self.0.string(character.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), Stopped> {
        self.0.string(text)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Stopped> {
        self.0.string(variant)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, key: &T) -> Result<(), Stopped> {
        self.inner(key)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        key: &T,
    ) -> Result<(), Stopped> {
        self.inner(key)
    }

    fn collect_str<T: Display + ?Sized>(self, key: &T) -> Result<(), Stopped> {
        self.0.display(key)
    }

    refused! {
        serialize_bytes: &[u8], serialize_unit_struct: &'static str,
    }

    refused_calls! {
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_seq(Option<usize>) -> Impossible<(), Stopped>;
        serialize_tuple(usize) -> Impossible<(), Stopped>;
        serialize_tuple_struct(&'static str, usize) -> Impossible<(), Stopped>;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Stopped>;
        serialize_map(Option<usize>) -> Impossible<(), Stopped>;
        serialize_struct(&'static str, usize) -> Impossible<(), Stopped>;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Stopped>;
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Stopped> {
        Err(Self::refused())
    }
}
