//! Arrays and objects.

use serde::de::IgnoredAny;
use serde::ser::{
    Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct,
    SerializeStructVariant, SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
    Serializer,
};

use super::key::Key;
use super::{Nulls, Stop, Writer};

/// An array or an object that is open.
pub(super) struct Compound<'a> {
    writer: &'a mut Writer,
    closing: &'static str,
    is_empty: bool,
    /// Where the entry under way begins, its comma included.
    entry: usize,
}

impl<'a> Compound<'a> {
    pub(super) fn open(
        writer: &'a mut Writer,
        bracket: &str,
        closing: &'static str,
    ) -> Result<Self, Stop> {
        writer.open(bracket)?;
        Ok(Self {
            writer,
            closing,
            is_empty: true,
            entry: 0,
        })
    }

    /// Opens `{"name":` and a bracket within.
    pub(super) fn open_in(
        writer: &'a mut Writer,
        name: &str,
        bracket: &str,
        closing: &'static str,
    ) -> Result<Self, Stop> {
        writer.open("{")?;
        writer.string(name)?;
        writer.put(":")?;
        Self::open(writer, bracket, closing)
    }

    /// Without brackets, for JSON that is taken as it is.
    pub(super) fn raw(writer: &'a mut Writer) -> Self {
        Self {
            writer,
            closing: "",
            is_empty: true,
            entry: 0,
        }
    }

    pub(super) fn item(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Stop> {
        self.begin_entry()?;
        self.value(value)
    }

    pub(super) fn member(
        &mut self,
        name: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Stop> {
        self.begin_entry()?;
        self.writer.string(name)?;
        self.writer.put(":")?;
        self.value(value)
    }

    fn begin_entry(&mut self) -> Result<(), Stop> {
        self.entry = self.writer.out.len();
        self.writer.put(if self.is_empty { "" } else { "," })
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Stop> {
        let start = self.writer.out.len();
        self.writer.inner(value)?;
        let written = &self.writer.out[start..];
        if self.writer.nulls == Nulls::LeftOut && matches!(written, b"null" | b"{}") {
            self.writer.out.truncate(self.entry);
        } else {
            self.is_empty = false;
        }
        Ok(())
    }

    pub(super) fn close(self) -> Result<(), Stop> {
        self.writer.levels -= self.closing.len();
        self.writer.put(self.closing)
    }
}

macro_rules! items {
    ($($kind:ident::$method:ident),*) => {$(
        impl $kind for Compound<'_> {
            type Ok = ();
            type Error = Stop;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                self.item(value)
            }

            fn end(self) -> Result<(), Stop> {
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
    type Error = Stop;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stop> {
        self.begin_entry()?;
        let written = key.serialize(Key(self.writer));
        written.map_err(|stop| self.writer.stop(stop))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.writer.put(":")?;
        self.value(value)
    }

    fn end(self) -> Result<(), Stop> {
        self.close()
    }
}

impl SerializeStruct for Compound<'_> {
    type Ok = ();
    type Error = Stop;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        if self.closing.is_empty() {
            let written = value.serialize(Raw(self.writer));
            return written.map_err(|stop| self.writer.stop(stop));
        }
        self.member(name, value)
    }

    fn end(self) -> Result<(), Stop> {
        self.close()
    }
}

impl SerializeStructVariant for Compound<'_> {
    type Ok = ();
    type Error = Stop;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), Stop> {
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

    fn refused() -> Stop {
        Stop::custom("raw JSON must be a text")
    }
}

macro_rules! refused {
    ($($method:ident: $value:ty),* $(,)?) => {$(
        fn $method(self, _: $value) -> Result<(), Stop> {
            Err(Self::refused())
        }
    )*};
}

macro_rules! refused_calls {
    ($($method:ident($($argument:ty),*) -> $returned:ty;)*) => {$(
        fn $method(self $(, _: $argument)*) -> Result<$returned, Stop> {
            Err(Self::refused())
        }
    )*};
}
pub(super) use {refused, refused_calls};

impl Serializer for Raw<'_> {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Impossible<(), Stop>;
    type SerializeTuple = Impossible<(), Stop>;
    type SerializeTupleStruct = Impossible<(), Stop>;
    type SerializeTupleVariant = Impossible<(), Stop>;
    type SerializeMap = Impossible<(), Stop>;
    type SerializeStruct = Impossible<(), Stop>;
    type SerializeStructVariant = Impossible<(), Stop>;

    fn serialize_str(self, text: &str) -> Result<(), Stop> {
        self.0.has_room(text.len())?;
        if self.0.nulls == Nulls::LeftOut {
            let value: serde_json::Value = serde_json::from_str(text).map_err(Stop::custom)?;
            return self.0.inner(&value);
        }
        // The name may be anybody's.
        serde_json::from_str::<IgnoredAny>(text).map_err(Stop::custom)?;
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
        serialize_seq(Option<usize>) -> Impossible<(), Stop>;
        serialize_tuple(usize) -> Impossible<(), Stop>;
        serialize_tuple_struct(&'static str, usize) -> Impossible<(), Stop>;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Stop>;
        serialize_map(Option<usize>) -> Impossible<(), Stop>;
        serialize_struct(&'static str, usize) -> Impossible<(), Stop>;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Stop>;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Stop> {
        Err(Self::refused())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), Stop> {
        Err(Self::refused())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Stop> {
        Err(Self::refused())
    }
}
