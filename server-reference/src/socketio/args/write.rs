//! A serializer that spreads a tuple over several arguments.

use std::fmt;

use bytes::Bytes;
use serde::ser::{Impossible, SerializeTuple};
use serde::{Serialize, Serializer};

/// The JSON of each argument.
pub(super) fn arguments<T: Serialize + ?Sized>(value: &T) -> Result<Vec<Bytes>, serde_json::Error> {
    match value.serialize(Spread) {
        Ok(arguments) => Ok(arguments),
        Err(Unspread::One) => Ok(vec![serde_json::to_vec(value)?.into()]),
        Err(Unspread::Failed(error)) => Err(error),
    }
}

/// Why the value was not spread.
#[derive(Debug)]
enum Unspread {
    /// It is no tuple: it is one argument.
    One,
    Failed(serde_json::Error),
}

impl fmt::Display for Unspread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("not a tuple"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unspread {}

impl serde::ser::Error for Unspread {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Failed(serde::ser::Error::custom(message))
    }
}

/// Takes tuples and units apart, and nothing else.
struct Spread;

struct Arguments(Vec<Bytes>);

impl SerializeTuple for Arguments {
    type Ok = Vec<Bytes>;
    type Error = Unspread;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unspread> {
        self.0.push(serde_json::to_vec(value).map_err(Unspread::Failed)?.into());
        Ok(())
    }

    fn end(self) -> Result<Vec<Bytes>, Unspread> {
        Ok(self.0)
    }
}

type Written = Result<Vec<Bytes>, Unspread>;
type Nothing = Impossible<Vec<Bytes>, Unspread>;

macro_rules! one {
    ($($method:ident($kind:ty))*) => {
        $(fn $method(self, _: $kind) -> Written {
            Err(Unspread::One)
        })*
    };
}

impl Serializer for Spread {
    type Ok = Vec<Bytes>;
    type Error = Unspread;
    type SerializeSeq = Nothing;
    type SerializeTuple = Arguments;
    type SerializeTupleStruct = Nothing;
    type SerializeTupleVariant = Nothing;
    type SerializeMap = Nothing;
    type SerializeStruct = Nothing;
    type SerializeStructVariant = Nothing;

    one! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32)
        serialize_u64(u64) serialize_f32(f32) serialize_f64(f64) serialize_char(char)
        serialize_str(&str) serialize_bytes(&[u8]) serialize_unit_struct(&'static str)
    }

    fn serialize_none(self) -> Written {
        Err(Unspread::One)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Written {
        Err(Unspread::One)
    }

    fn serialize_unit(self) -> Written {
        Ok(Vec::new())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Written {
        Err(Unspread::One)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Written {
        Err(Unspread::One)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Written {
        Err(Unspread::One)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Nothing, Unspread> {
        Err(Unspread::One)
    }

    fn serialize_tuple(self, len: usize) -> Result<Arguments, Unspread> {
        Ok(Arguments(Vec::with_capacity(len)))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Nothing, Unspread> {
        Err(Unspread::One)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Nothing, Unspread> {
        Err(Unspread::One)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Nothing, Unspread> {
        Err(Unspread::One)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Nothing, Unspread> {
        Err(Unspread::One)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Nothing, Unspread> {
        Err(Unspread::One)
    }
}
