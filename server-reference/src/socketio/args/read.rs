//! A deserializer to which several arguments are a tuple.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use tidings_core::socketio::Args;

/// The arguments from number `from` on as one value.
pub(super) fn value<T: DeserializeOwned>(args: &Args, from: usize) -> Result<T, String> {
    let mut arguments = Arguments { args, first: from, next: from };
    match T::deserialize(&mut arguments) {
        Err(Misfit::One) => arguments.seed(PhantomData),
        result => result,
    }
    .map_err(|misfit| misfit.to_string())
}

/// Why the arguments are not the value.
#[derive(Debug)]
enum Misfit {
    /// It is no tuple that is wanted: it is the first argument.
    One,
    Wrong(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("not a tuple"),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Misfit {}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Wrong(message.to_string())
    }
}

/// Gives arguments to tuples and units, and to nothing else.
struct Arguments<'a> {
    args: &'a Args,
    first: usize,
    next: usize,
}

impl Arguments<'_> {
    /// The next argument; one that is missing counts as null where that is allowed.
    fn seed<'de, S: DeserializeSeed<'de>>(&self, seed: S) -> Result<S::Value, Misfit> {
        let number = self.next - self.first + 1;
        let json = self.args.json(self.next);
        let text = json.map_or(&b"null"[..], |json| json);
        let mut text = serde_json::Deserializer::from_reader(text);
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(&mut text, &mut track);
        seed.deserialize(tracked).map_err(|error| {
            let path = track.path().to_string();
            Misfit::Wrong(match (json, path.as_str()) {
                (None, _) => format!("argument {number} is missing"),
                (Some(_), ".") => format!("argument {number}: {error}"),
                (Some(_), path) => format!("argument {number}, {path}: {error}"),
            })
        })
    }
}

impl<'de> SeqAccess<'de> for Arguments<'_> {
    type Error = Misfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        let value = self.seed(seed)?;
        self.next += 1;
        Ok(Some(value))
    }
}

impl<'de> Deserializer<'de> for &mut Arguments<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Misfit> {
        Err(Misfit::One)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_seq(Arguments { ..*self })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option
        unit_struct newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}
