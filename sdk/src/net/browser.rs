//! What a page has: `WebSocket`, `fetch`, and events that tell of the network and of itself. Web
//! workers and Node have most of it; what is missing is not listened to.

mod events;
mod http;
mod socket;

use tidings_core::message::{Close, CloseCode};
use wasm_bindgen::{JsCast, JsValue};

pub(crate) use events::Returns;
pub(crate) use http::{Exchange, HttpClient};
pub use socket::OpenedSocket;
pub(crate) use socket::Socket;

/// In a page there is nothing to configure: the browser encrypts, and checks certificates.
#[derive(Debug, Clone)]
pub enum TlsConfig {}

/// What the page says went wrong.
fn failed(what: &str, error: &JsValue) -> Close {
    let said = match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => error.as_string().unwrap_or_default(),
    };
    Close::new(CloseCode::ABNORMAL, format!("{what}: {said}"))
}
