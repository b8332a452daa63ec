//! Arrays and objects.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{
    Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct,
    SerializeStructVariant, SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
    Serializer,
};

use super::key::Key;
use super::{Nulls, Stopped, Writer};

/// An array or an object that is open.
pub(super) struct Compound<'a> {
    writer: &'a mut Writer,
    /// No bracket round JSON that is taken as it is.
    closing: Option<u8>,
    /// `{"name":` stands before it.
    is_named: bool,
    is_empty: bool,
    /// A key stands there whose value is to come.
    is_keyed: bool,
    /// Where the entry under way begins, its comma included.
    entry: usize,
}

impl<'a> Compound<'a> {
    #[inline]
    pub(super) fn open(writer: &'a mut Writer, bracket: u8, closing: u8) -> Result<Self, Stopped> {
        writer.open(bracket)?;
        let mut open = Self::raw(writer);
        open.closing = Some(closing);
        Ok(open)
    }

    /// Opens `{"name":` and a bracket within.
    pub(super) fn open_in(
        writer: &'a mut Writer,
        name: &str,
        bracket: u8,
        closing: u8,
    ) -> Result<Self, Stopped> {
        writer.open(b'{')?;
        writer.string(name)?;
        writer.sign(b':')?;
        let mut open = Self::open(writer, bracket, closing)?;
        open.is_named = true;
        Ok(open)
    }

    /// Without brackets.
    #[inline]
    pub(super) fn raw(writer: &'a mut Writer) -> Self {
        Self {
            writer,
            closing: None,
            is_named: false,
            is_empty: true,
            is_keyed: false,
            entry: 0,
        }
    }

    pub(super) fn item(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Stopped> {
        self.begin_entry()?;
        self.value(value)
    }

    pub(super) fn member(
        &mut self,
        name: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Stopped> {
        self.begin_entry()?;
        self.writer.string(name)?;
        self.writer.sign(b':')?;
        self.value(value)
    }

    #[inline]
    fn begin_entry(&mut self) -> Result<(), Stopped> {
        self.entry = self.writer.out.len();
        if self.is_empty {
            return self.writer.has_room(0);
        }
        self.writer.sign(b',')
    }

    #[inline]
    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Stopped> {
        let start = self.writer.out.len();
        self.writer.inner(value)?;
        let written = &self.writer.out[start..];
        if self.writer.nulls == Nulls::LeftOut && matches!(written, b"null" | b"{}") {
            // It counts all the same: there may be any number of them.
            let gone = self.writer.out.len() - self.entry;
            self.writer.limit = self.writer.limit.saturating_sub(gone);
            self.writer.out.truncate(self.entry);
        } else {
            self.is_empty = false;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn close(mut self) -> Result<(), Stopped> {
        if self.is_keyed {
            return Err(self.refuse("a key has no value"));
        }
        let Some(closing) = self.closing else {
            if self.is_empty {
                return Err(self.refuse("raw JSON is missing"));
            }
            return Ok(());
        };
        self.writer.levels -= 1;
        self.writer.sign(closing)?;
        if self.is_named {
            self.writer.levels -= 1;
            self.writer.sign(b'}')?;
        }
        Ok(())
    }

    /// Its `Serialize` makes calls of which no JSON comes.
    #[cold]
    fn refuse(&mut self, why: &str) -> Stopped {
        self.writer.fail(Stopped::custom(why))
    }
}

macro_rules! items {
    ($($kind:ident::$method:ident),*) => {$(
        impl $kind for Compound<'_> {
            type Ok = ();
            type Error = Stopped;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stopped> {
                self.item(value)
            }

            fn end(self) -> Result<(), Stopped> {
                self.close()
            }
        }
    )*};
}

items! {
    SerializeSeq::serialize_element, SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field, SerializeTupleVariant::serialize_field
}

impl SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Stopped;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stopped> {
        if self.is_keyed {
            return Err(self.refuse("a key has no value"));
        }
        self.begin_entry()?;
        self.is_keyed = true;
        let written = key.serialize(Key(self.writer));
        written.map_err(|stopped| self.writer.fail(stopped))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stopped> {
        if !self.is_keyed {
            return Err(self.refuse("a value has no key"));
        }
        self.is_keyed = false;
        self.writer.sign(b':')?;
        self.value(value)
    }

    fn end(self) -> Result<(), Stopped> {
        self.close()
    }
}

impl SerializeStruct for Compound<'_> {
    type Ok = ();
    type Error = Stopped;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Stopped> {
        if self.closing.is_none() {
            if !self.is_empty {
                return Err(self.refuse("raw JSON must be one text"));
            }
            self.is_empty = false;
            let written = value.serialize(Raw(self.writer));
            return written.map_err(|stopped| self.writer.fail(stopped));
        }
        self.member(name, value)
    }

    fn end(self) -> Result<(), Stopped> {
        self.close()
    }
}

impl SerializeStructVariant for Compound<'_> {
    type Ok = ();
    type Error = Stopped;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Stopped> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), Stopped> {
        self.close()
    }
}

/// JSON text that serde_json hands on as it is: its `RawValue`, and its numbers
/// of any precision.
pub(super) struct Raw<'a>(&'a mut Writer);

impl Raw<'_> {
    pub(super) fn is_named(name: &str) -> bool {
        matches!(
            name,
            "$serde_json::private::RawValue" | "$serde_json::private::Number"
        )
    }

    fn refused() -> Stopped {
        Stopped::custom("raw JSON must be a text")
    }
}

macro_rules! refused {
    ($($method:ident: $value:ty),* $(,)?) => {$(
        fn $method(self, _: $value) -> Result<(), Stopped> {
            Err(Self::refused())
        }
    )*};
}

macro_rules! refused_calls {
    ($($method:ident($($argument:ty),*) -> $returned:ty;)*) => {$(
        fn $method(self $(, _: $argument)*) -> Result<$returned, Stopped> {
            Err(Self::refused())
        }
    )*};
}
pub(super) use {refused, refused_calls};

impl Serializer for Raw<'_> {
    type Ok = ();
    type Error = Stopped;
    type SerializeSeq = Impossible<(), Stopped>;
    type SerializeTuple = Impossible<(), Stopped>;
    type SerializeTupleStruct = Impossible<(), Stopped>;
    type SerializeTupleVariant = Impossible<(), Stopped>;
    type SerializeMap = Impossible<(), Stopped>;
    type SerializeStruct = Impossible<(), Stopped>;
    type SerializeStructVariant = Impossible<(), Stopped>;

    fn serialize_str(self, text: &str) -> Result<(), Stopped> {
        self.0.has_room(text.len())?;
        if self.0.nulls == Nulls::LeftOut {
            let value: serde_json::Value = serde_json::from_str(text).map_err(Stopped::custom)?;
            return self.0.inner(&value);
        }
        // The name may be anybody's.
        serde_json::from_str::<Readable>(text).map_err(Stopped::custom)?;
        self.0.has_raw = true;
        self.0.put(text)
    }

    refused! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_f32: f32, serialize_f64: f64, serialize_char: char,
        serialize_bytes: &[u8], serialize_unit_struct: &'static str,
    }

    refused_calls! {
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Impossible<(), Stopped>;
        serialize_tuple(usize) -> Impossible<(), Stopped>;
        serialize_tuple_struct(&'static str, usize) -> Impossible<(), Stopped>;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Stopped>;
        serialize_map(Option<usize>) -> Impossible<(), Stopped>;
        serialize_struct(&'static str, usize) -> Impossible<(), Stopped>;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Stopped>;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Stopped> {
        Err(Self::refused())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), Stopped> {
        Err(Self::refused())
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

/// JSON that every reader takes: one that skips values takes numbers beyond all
/// floats and halves of characters, too.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

macro_rules! readable {
    ($($method:ident: $value:ty),* $(,)?) => {$(
        fn $method<E>(self, _: $value) -> Result<Self, E> {
            Ok(Self)
        }
    )*};
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    readable! { visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}
