//! Arguments of events: from Rust values to Socket.IO's and back.
//!
//! A tuple is as many arguments as it has elements, `()` is none, and any other value is one. (To
//! serde an array of fixed length is a tuple, too.)

mod read;
mod write;

use std::cell::RefCell;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::{Error as _, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_core::socketio::Args;

/// Arguments that could not be written, or are not what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ArgsError {
    message: String,
}

impl ArgsError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// Bytes that travel as they are, as a `Buffer` in Node or an `ArrayBuffer` in a browser. They may
/// stand anywhere inside of an argument.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings_server::socketio::Binary;
///
/// #[derive(Serialize, Deserialize)]
/// struct Upload {
///     name: String,
///     content: Binary,
/// }
/// ```
///
/// It can be serialized only as a part of arguments, since other formats have no place for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Binary(pub Bytes);

thread_local! {
    /// The attachments of the arguments that are being written or read on this thread.
    static ATTACHMENTS: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

/// Runs `work` with these attachments, and gives them back with what it has added.
fn with_attachments<R>(attachments: Vec<Bytes>, work: impl FnOnce() -> R) -> (R, Vec<Bytes>) {
    let outer = ATTACHMENTS.replace(Some(attachments));
    let result = work();
    let attachments = ATTACHMENTS.replace(outer).unwrap_or_default();
    (result, attachments)
}

const OUTSIDE: &str = "Binary can only be a part of Socket.IO's arguments";

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let num = ATTACHMENTS.with_borrow_mut(|attachments| {
            let attachments = attachments.as_mut().ok_or_else(|| S::Error::custom(OUTSIDE))?;
            attachments.push(self.0.clone());
            Ok(attachments.len() - 1)
        })?;
        let mut placeholder = serializer.serialize_struct("Binary", 2)?;
        placeholder.serialize_field("_placeholder", &true)?;
        placeholder.serialize_field("num", &num)?;
        placeholder.end()
    }
}

#[derive(Deserialize)]
struct Placeholder {
    #[serde(rename = "_placeholder")]
    marked: bool,
    num: usize,
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = || D::Error::custom("binary is expected");
        let placeholder = Placeholder::deserialize(deserializer).map_err(|_| expected())?;
        ATTACHMENTS.with_borrow(|attachments| {
            let attachments = attachments.as_ref().ok_or_else(|| D::Error::custom(OUTSIDE))?;
            let data = attachments.get(placeholder.num).filter(|_| placeholder.marked);
            data.cloned().map(Self).ok_or_else(expected)
        })
    }
}

/// What can be sent as the arguments of an event: any value that serde can serialize, or
/// [`RawArgs`].
pub trait IntoArgs {
    /// Appends them to `args`.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    fn append_to(self, args: &mut Args) -> Result<(), ArgsError>;
}

/// Arguments as they are on the wire, without a look into them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawArgs(pub Args);

impl<T: Serialize> IntoArgs for T {
    fn append_to(self, args: &mut Args) -> Result<(), ArgsError> {
        let before = args.attachments().to_vec();
        let known = before.len();
        let (written, attachments) = with_attachments(before, || write::arguments(&self));
        let failed = |error| ArgsError::new(format!("the arguments cannot be written: {error}"));
        written.map_err(failed)?.into_iter().for_each(|json| args.push_json(json));
        for data in attachments.into_iter().skip(known) {
            args.push_attachment(data);
        }
        Ok(())
    }
}

impl IntoArgs for RawArgs {
    fn append_to(self, args: &mut Args) -> Result<(), ArgsError> {
        if args.attachments().is_empty() {
            let json = (0..self.0.len()).filter_map(|index| self.0.json(index).cloned());
            json.for_each(|json| args.push_json(json));
            for data in self.0.attachments() {
                args.push_attachment(data.clone());
            }
            return Ok(());
        }
        // Placeholders are numbered from 0.
        Err(ArgsError::new("raw arguments with attachments cannot follow others with attachments"))
    }
}

/// Reads the arguments from number `from` on as a value of this type.
///
/// # Errors
/// Says which part is not what the type wants.
pub(crate) fn read<T: DeserializeOwned>(args: &Args, from: usize) -> Result<T, ArgsError> {
    let attachments = args.attachments().to_vec();
    let (value, _) = with_attachments(attachments, || read::value(args, from));
    value.map_err(ArgsError::new)
}

/// The arguments of an event of this name.
pub(crate) fn event_args(event: &str, arguments: impl IntoArgs) -> Result<Args, ArgsError> {
    let mut args = Args::new();
    args.push_str(event);
    arguments.append_to(&mut args)?;
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl IntoArgs) -> Vec<String> {
        let args = event_args("e", value).expect("it can be written");
        let text = |index| String::from_utf8(args.json(index)?.to_vec()).ok();
        (1..args.len()).filter_map(text).collect()
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        x: i32,
        y: Option<String>,
    }

    #[test]
    fn a_tuple_is_several_arguments() {
        assert_eq!(written(()), [""; 0]);
        assert_eq!(written(7), ["7"]);
        assert_eq!(written("text"), ["\"text\""]);
        assert_eq!(written(vec![1, 2]), ["[1,2]"]);
        assert_eq!(written((1, "two", (3, 4))), ["1", "\"two\"", "[3,4]"]);
        let point = Point { x: 1, y: None };
        assert_eq!(written(&point), [r#"{"x":1,"y":null}"#]);
        assert_eq!(written((point,)), [r#"{"x":1,"y":null}"#]);
        assert_eq!(written(Some(1)), ["1"]);
        assert_eq!(written(None::<i32>), ["null"]);
    }

    #[test]
    fn what_was_written_is_read() {
        let args = event_args("e", (1, "two", Point { x: 3, y: Some("y".into()) })).expect("args");
        let (one, two, point): (i32, String, Point) = read(&args, 1).expect("three");
        assert_eq!((one, two.as_str(), point.x), (1, "two", 3));
        assert_eq!(read::<i32>(&args, 1), Ok(1), "what is not a tuple is the first argument");
        assert_eq!(read::<()>(&args, 1), Ok(()));
        assert_eq!(read::<(i32,)>(&args, 1), Ok((1,)));
        let args = event_args("e", vec![1, 2]).expect("args");
        assert_eq!(read::<Vec<i32>>(&args, 1), Ok(vec![1, 2]));
        let none = event_args("e", ()).expect("args");
        assert_eq!(read::<Option<i32>>(&none, 1), Ok(None));
        assert_eq!(read::<(Option<i32>, Option<i32>)>(&args, 2), Ok((None, None)));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let args = event_args("e", (1, Point { x: 3, y: None })).expect("args");
        let error = read::<(i32, i32)>(&args, 1).expect_err("no number").to_string();
        assert!(error.starts_with("argument 2: invalid type: map"), "{error}");
        let args = event_args("e", serde_json::json!({"x": "no"})).expect("args");
        let error = read::<Point>(&args, 1).expect_err("no number").to_string();
        assert!(error.starts_with("argument 1, x: invalid type: string"), "{error}");
        let none = event_args("e", ()).expect("args");
        let error = read::<i32>(&none, 1).expect_err("nothing").to_string();
        assert_eq!(error, "argument 1 is missing");
    }

    #[test]
    fn binary_stands_anywhere() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Upload {
            name: String,
            content: Binary,
        }
        let upload = || Upload { name: "n".into(), content: Binary("content".into()) };
        let args = event_args("e", (Binary("first".into()), upload())).expect("args");
        assert_eq!(args.attachments().len(), 2);
        assert!(args.has_inner_binary());
        let read: (Binary, Upload) = read(&args, 1).expect("both");
        assert_eq!(read, (Binary("first".into()), upload()));
        assert!(serde_json::to_string(&upload()).is_err(), "there is no place for it elsewhere");
        assert!(super::read::<Binary>(&event_args("e", 1).expect("args"), 1).is_err());
    }
}
