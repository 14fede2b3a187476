//! What the page is asked: for a token, for the answer to a request, to keep something.

use std::cell::RefCell;

use bytes::Bytes;
use tidings::Payload;
use tidings_core::json::{MAX_DEPTH, Writer, parse};
use tidings_core::map::Map;
use tokio::sync::oneshot;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::outbox::tell_with;

/// What the page says; `None` is nothing.
type Answer = Result<Option<Payload>, Failed>;

/// Why the page has no answer.
pub(crate) struct Failed {
    pub(crate) message: String,
    pub(crate) retryable: bool,
}

#[derive(Default)]
struct Asked {
    last: u32,
    waiting: Map<u32, oneshot::Sender<Answer>>,
}

thread_local! {
    static ASKED: RefCell<Asked> = RefCell::default();
}

/// Asks whoever has this number: `value` writes one value, after the question's own number.
pub(crate) async fn ask(
    number: u32,
    what: &str,
    value: impl FnOnce(&mut Writer<'_>, &mut Vec<Bytes>),
) -> Answer {
    let (done, answer) = oneshot::channel();
    let question = ASKED.with_borrow_mut(|asked| {
        asked.last = asked.last.wrapping_add(1);
        asked.waiting.insert(asked.last, done);
        asked.last
    });
    let _forgotten = Forget(question);
    tell_with(number, what, |w, binaries| {
        w.begin_array().u64(question.into());
        value(w, binaries);
        w.end_array();
    });
    let nobody = |_| Err(Failed { message: "nobody answers".into(), retryable: true });
    answer.await.unwrap_or_else(nobody)
}

/// Forgets a question that nobody waits for.
struct Forget(u32);

impl Drop for Forget {
    fn drop(&mut self) {
        ASKED.with_borrow_mut(|asked| asked.waiting.remove(&self.0));
    }
}

fn answered(question: u32, answer: Answer) {
    let done = ASKED.with_borrow_mut(|asked| asked.waiting.remove(&question));
    if let Some(done) = done {
        // Whoever asked may have stopped waiting.
        let _ = done.send(answer);
    }
}

/// Answers with JSON; with nothing if it is not there.
#[wasm_bindgen]
pub fn answer(question: u32, json: Option<String>) {
    answered(question, Ok(json.map(|json| Payload::Json(json.into()))));
}

/// Answers with bytes.
#[wasm_bindgen]
pub fn answer_binary(question: u32, bytes: Vec<u8>) {
    answered(question, Ok(Some(Payload::Binary(bytes.into()))));
}

/// Has no answer.
#[wasm_bindgen]
pub fn answer_failed(question: u32, message: String, retryable: bool) {
    answered(question, Err(Failed { message, retryable }));
}

/// The text that a page's answer is.
pub(crate) fn text(payload: &Payload) -> String {
    let value = parse(payload.bytes(), MAX_DEPTH).ok().and_then(|value| value.as_str());
    value.unwrap_or_default().into_owned()
}
