//! JSON for the typed event bus.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_core::{Codec, CodecError, Payload};

/// The codec of a [`TypedBus`](tidings_core::bus::TypedBus) whose payloads are JSON, as those of a
/// [`Client`](crate::Client) are.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings::bus::{EventBus, TypedBus};
///
/// #[derive(tidings::Event, Serialize, Deserialize)]
/// #[event(name = "orders.{region}.created", priority = "high")]
/// struct OrderCreated { region: String, total: u32 }
///
/// let typed = TypedBus::new(EventBus::default(), tidings::Json);
/// let handle = typed.on(|order: &OrderCreated, event| {
///     assert_eq!((&*event.name, order.total), ("orders.eu.created", 7));
/// })?;
/// assert_eq!(typed.emit(&OrderCreated { region: "eu".into(), total: 7 })?, 1);
/// # drop(handle);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Payload, CodecError> {
        crate::request::encode(value).map_err(CodecError)
    }

    fn decode(&self, payload: &Payload) -> Result<T, CodecError> {
        let Payload::Json(json) = payload else {
            return Err(CodecError(format!("{} bytes of binary, not JSON", payload.len())));
        };
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| CodecError(format!("at {}: {}", error.path(), error.inner())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Point {
        at: Vec<u8>,
    }

    #[test]
    fn values_survive_and_misfits_name_the_place() {
        let point = Point { at: vec![1, 2] };
        let payload = Json.encode(&point).unwrap();
        assert_eq!(payload, Payload::Json(r#"{"at":[1,2]}"#.into()));
        assert_eq!(Json.decode(&payload), Ok(point));
        let decode = |payload| Codec::<Point>::decode(&Json, &payload).unwrap_err().0;
        let misfit = decode(Payload::Json(r#"{"at":[1,"x"]}"#.into()));
        assert!(misfit.starts_with("at at[1]: invalid type: string"), "{misfit}");
        assert_eq!(decode(Payload::Binary("abc".into())), "3 bytes of binary, not JSON");
    }
}
