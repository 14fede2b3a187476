//! What the page is told.

use std::cell::RefCell;

use bytes::Bytes;
use js_sys::Function;
use tidings_core::json::Writer;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// What was told and not taken yet.
#[derive(Default)]
struct Outbox {
    /// `[number,what,value,number,what,value` and so on.
    text: Vec<u8>,
    /// Bytes that the text speaks of by their places in here.
    binaries: Vec<Bytes>,
    /// Those of the text that was taken last.
    taken: Vec<Bytes>,
    wake: Option<Function>,
}

thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::default();
}

/// Calls `wake` from now on when there is something to take.
#[wasm_bindgen]
pub fn start(wake: Function) {
    OUTBOX.with_borrow_mut(|outbox| outbox.wake = Some(wake));
}

/// What was told since this was called last: an array of numbers, words and values in turn. Empty if
/// nothing was.
#[wasm_bindgen]
pub fn take() -> String {
    OUTBOX.with_borrow_mut(|outbox| {
        outbox.taken = std::mem::take(&mut outbox.binaries);
        let mut text = std::mem::take(&mut outbox.text);
        if !text.is_empty() {
            text.push(b']');
        }
        String::from_utf8(text).unwrap_or_default()
    })
}

/// Bytes that the text taken last speaks of.
#[wasm_bindgen]
pub fn binary(place: usize) -> Vec<u8> {
    OUTBOX.with_borrow(|outbox| {
        outbox.taken.get(place).map(|bytes| bytes.to_vec()).unwrap_or_default()
    })
}

/// Tells what has become of the thing with this number: `value` writes one value.
pub(crate) fn tell(number: u32, what: &str, value: impl FnOnce(&mut Writer<'_>)) {
    tell_with(number, what, |w, _| value(w));
}

/// The same, without a value.
pub(crate) fn tell_only(number: u32, what: &str) {
    tell(number, what, |w| {
        w.null();
    });
}

/// The same, for a value that may speak of bytes.
pub(crate) fn tell_with(
    number: u32,
    what: &str,
    value: impl FnOnce(&mut Writer<'_>, &mut Vec<Bytes>),
) {
    let wake = OUTBOX.with_borrow_mut(|Outbox { text, binaries, wake, .. }| {
        let is_first = text.is_empty();
        text.push(if is_first { b'[' } else { b',' });
        let mut w = Writer::new(text);
        w.u64(number.into()).str(what);
        value(&mut w, binaries);
        wake.clone().filter(|_| is_first)
    });
    if let Some(wake) = wake {
        // It cannot fail: the package has made it.
        let _ = wake.call0(&JsValue::UNDEFINED);
    }
}
