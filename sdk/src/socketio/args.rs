//! Arguments of events and acknowledgements as values, with binary anywhere.

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_core::socketio::Args;

thread_local! {
    /// Where binary goes while arguments are written.
    static WRITING: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
    /// Where binary comes from while arguments are read.
    static READING: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

/// Bytes, which travel as such and not as JSON, wherever in an argument they stand.
///
/// ```
/// # use tidings::socketio::Binary;
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Upload { name: String, content: Binary }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Binary(pub Bytes);

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let num = WRITING.with_borrow_mut(|attachments| {
            let attachments = attachments.as_mut()?;
            attachments.push(self.0.clone());
            Some(attachments.len() - 1)
        });
        let Some(num) = num else { return serializer.serialize_bytes(&self.0) };
        let mut placeholder = serializer.serialize_struct("Placeholder", 2)?;
        placeholder.serialize_field("_placeholder", &true)?;
        placeholder.serialize_field("num", &num)?;
        placeholder.end()
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BinaryVisitor)
    }
}

struct BinaryVisitor;

impl<'de> Visitor<'de> for BinaryVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Binary, E> {
        Ok(Binary(Bytes::copy_from_slice(bytes)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Binary, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(Binary(bytes.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Binary, A::Error> {
        let (mut placeholder, mut num) = (false, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "_placeholder" => placeholder = map.next_value()?,
                "num" => num = Some(map.next_value::<usize>()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let num = num.filter(|_| placeholder);
        let found = READING.with_borrow(|attachments| attachments.as_ref()?.get(num?).cloned());
        found.map(Binary).ok_or_else(|| serde::de::Error::custom("an object is not binary"))
    }
}

/// Runs `work` with `attachments` at hand for [`Binary`], and gives back those that are left.
fn with_attachments<R>(
    place: &'static std::thread::LocalKey<RefCell<Option<Vec<Bytes>>>>,
    attachments: Vec<Bytes>,
    work: impl FnOnce() -> R,
) -> (R, Vec<Bytes>) {
    /// Puts back what was there before, also when a `Serialize` of the application panics.
    struct Restore(&'static std::thread::LocalKey<RefCell<Option<Vec<Bytes>>>>, Option<Vec<Bytes>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            self.0.replace(self.1.take());
        }
    }
    let restore = Restore(place, place.replace(Some(attachments)));
    let result = work();
    let attachments = place.take().unwrap_or_default();
    drop(restore);
    (result, attachments)
}

/// What can be sent with an event or in an acknowledgement: a tuple of arguments, `()` for none, or
/// a reference to a single one.
///
/// ```
/// # use tidings::socketio::EmitArgs;
/// # fn takes(args: impl EmitArgs) {}
/// takes(());
/// takes("one argument");
/// takes(&vec![1, 2, 3]); // one argument, too: an array
/// takes((1, "two", Some(3.5)));
/// ```
pub trait EmitArgs: sealed::EmitArgs {}

impl<T: sealed::EmitArgs> EmitArgs for T {}

mod sealed {
    use super::Args;

    pub trait EmitArgs {
        fn push(&self, args: &mut Args) -> Result<(), serde_json::Error>;
    }
}

impl sealed::EmitArgs for () {
    fn push(&self, _: &mut Args) -> Result<(), serde_json::Error> {
        Ok(())
    }
}

impl<T: Serialize + ?Sized> sealed::EmitArgs for &T {
    fn push(&self, args: &mut Args) -> Result<(), serde_json::Error> {
        args.push_json(serde_json::to_vec(self)?.into());
        Ok(())
    }
}

/// Any number of arguments, known only when the program runs.
impl sealed::EmitArgs for Vec<serde_json::Value> {
    fn push(&self, args: &mut Args) -> Result<(), serde_json::Error> {
        self.iter().try_for_each(|value| (&value).push(args))
    }
}

/// What arguments can be read as: a tuple, with its `None`s for those that did not come.
pub trait FromArguments: Sized {
    /// Reads them. More than are asked for do no harm.
    ///
    /// # Errors
    /// Says which argument is not what it should be, and where.
    fn from_arguments(arguments: &Arguments) -> Result<Self, ArgumentError>;
}

macro_rules! tuples {
    ($(($($name:ident $at:tt),+))+) => {$(
        impl<$($name: Serialize),+> sealed::EmitArgs for ($($name,)+) {
            fn push(&self, args: &mut Args) -> Result<(), serde_json::Error> {
                $(args.push_json(serde_json::to_vec(&self.$at)?.into());)+
                Ok(())
            }
        }

        impl<$($name: DeserializeOwned),+> FromArguments for ($($name,)+) {
            fn from_arguments(arguments: &Arguments) -> Result<Self, ArgumentError> {
                Ok(($(arguments.get::<$name>($at)?,)+))
            }
        }
    )+};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

/// Writes arguments behind those that are there.
pub(super) fn write(mut args: Args, values: &impl EmitArgs) -> Result<Args, serde_json::Error> {
    let (result, attachments) = with_attachments(&WRITING, Vec::new(), || values.push(&mut args));
    result?;
    for attachment in attachments {
        args.push_attachment(attachment);
    }
    Ok(args)
}

/// An argument is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("argument {index} at {path:?}: {problem}")]
pub struct ArgumentError {
    /// Which argument, counted from 0.
    pub index: usize,
    /// The place in it, as in `items[3].price`; a dot alone is the whole of it.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

impl ArgumentError {
    /// What to do about it: the same arguments will not do better.
    pub const fn advice(&self) -> crate::Advice {
        crate::Advice::GiveUp
    }
}

/// The arguments that came with an event or an acknowledgement.
#[derive(Clone, PartialEq, Eq)]
pub struct Arguments {
    args: Args,
    /// How many come before the first one that counts: the event's name is none of them.
    first: usize,
}

impl Arguments {
    pub(super) const fn new(args: Args, first: usize) -> Self {
        Self { args, first }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.args.len().saturating_sub(self.first)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The argument with this index, counted from 0. One that did not come is read as `null`.
    ///
    /// # Errors
    /// If it is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, ArgumentError> {
        let json = self.args.json(index + self.first).map_or(&b"null"[..], |json| json);
        let attachments = self.args.attachments().to_vec();
        let read = || {
            let mut deserializer = serde_json::Deserializer::from_slice(json);
            serde_path_to_error::deserialize(&mut deserializer)
        };
        let (result, _) = with_attachments(&READING, attachments, read);
        result.map_err(|error| ArgumentError {
            index,
            path: error.path().to_string(),
            problem: error.inner().to_string(),
        })
    }

    /// All of them, as a tuple: `parse::<(String, Option<u32>)>()`.
    ///
    /// # Errors
    /// If one of them is not what it should be.
    pub fn parse<T: FromArguments>(&self) -> Result<T, ArgumentError> {
        T::from_arguments(self)
    }

    /// The JSON of an argument; binary in it is an object `{"_placeholder":true,"num":n}`.
    pub fn json(&self, index: usize) -> Option<&Bytes> {
        self.args.json(index + self.first)
    }

    /// The bytes of an argument that is binary by itself.
    pub fn binary(&self, index: usize) -> Option<Bytes> {
        match self.args.payload(index + self.first)? {
            tidings_core::Payload::Binary(bytes) => Some(bytes),
            tidings_core::Payload::Json(_) => None,
        }
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = (0..self.len()).filter_map(|index| self.json(index));
        f.debug_list().entries(json.map(|json| String::from_utf8_lossy(json))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(values: impl EmitArgs) -> Arguments {
        Arguments::new(write(Args::new(), &values).unwrap(), 0)
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Upload {
        name: String,
        parts: Vec<Binary>,
    }

    #[test]
    fn tuples_are_several_arguments_and_references_are_one() {
        assert_eq!(written(()).len(), 0);
        assert_eq!(written("text").parse(), Ok(("text".to_owned(),)));
        assert_eq!(written(&[1, 2]).parse(), Ok((vec![1, 2],)));
        let three = written((1, "two", None::<u8>));
        assert_eq!((three.len(), three.parse()), (3, Ok((1, "two".to_owned()))));
        assert_eq!(three.parse(), Ok((1, "two".to_owned(), None::<u8>, None::<u8>)));
        assert_eq!(written(vec![1.into(), "x".into()]).len(), 2);
        assert_eq!(format!("{three:?}"), r#"["1", "\"two\"", "null"]"#);
    }

    #[test]
    fn binary_keeps_its_place() {
        let parts = vec![Binary::from(vec![1]), Binary::from(vec![2, 3])];
        let upload = Upload { name: "x".into(), parts };
        let arguments = written((&upload, Binary::from(vec![4])));
        let part = r#"{"_placeholder":true,"num":"#;
        let json = format!(r#"{{"name":"x","parts":[{part}0}},{part}1}}]}}"#);
        assert_eq!(arguments.json(0).unwrap(), &json);
        assert_eq!(arguments.get(0), Ok(upload));
        assert_eq!(arguments.binary(1), Some(Bytes::from_static(&[4])));
        assert_eq!(arguments.binary(0), None);
        assert_eq!(arguments.get(1), Ok(Binary::from(vec![4])));
        let error = written(&json!({"_placeholder": true, "num": 7})).get::<Binary>(0).unwrap_err();
        assert!(error.problem.contains("not binary"), "{error}");
        assert_eq!(serde_json::to_string(&Binary::from(vec![1])).unwrap(), "[1]", "elsewhere");
        assert_eq!(serde_json::from_str::<Binary>("[1]").unwrap(), Binary::from(vec![1]));
    }

    use serde_json::json;

    #[test]
    fn what_does_not_fit_is_named() {
        let arguments = written((1, json!({"items": [{"price": "x"}]})));
        #[derive(Debug, Deserialize)]
        struct Order {
            #[expect(dead_code)]
            items: Vec<std::collections::HashMap<String, u32>>,
        }
        let error = arguments.parse::<(u8, Order)>().unwrap_err();
        assert_eq!((error.index, error.path.as_str()), (1, "items[0].price"));
    }
}
