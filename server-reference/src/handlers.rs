//! Answering what clients ask.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_core::Payload;
use tidings_core::message::{ErrorCode, Refusal};

use crate::auth::Identity;
use crate::stats::Counter;

/// What a client asks.
#[derive(Debug, Clone)]
pub struct Request {
    /// The name of the request, which chose the handler.
    pub name: Arc<str>,
    /// With what.
    pub payload: Payload,
    /// The id of the session that asks.
    pub session: Arc<str>,
    /// Who asks, as its token said last.
    pub identity: Identity,
}

impl Request {
    /// The payload as a value of this type; a payload that is not one is refused with what does
    /// not fit and where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let wrong = |what: String| {
            Refusal::new(ErrorCode::BAD_REQUEST, format!("request {:?}: {what}", self.name))
        };
        match &self.payload {
            Payload::Json(text) => {
                serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))
            }
            Payload::Binary(_) => Err(wrong("the payload is binary, JSON is wanted".to_owned())),
        }
    }
}

/// A value as the answer to a [`Request`].
pub fn reply<T: Serialize>(value: &T) -> Result<Payload, Refusal> {
    match serde_json::to_vec(value) {
        Ok(text) => Ok(Payload::Json(text.into())),
        Err(error) => {
            Err(Refusal::new(ErrorCode::INTERNAL, format!("the reply cannot be written: {error}")))
        }
    }
}

/// Answers requests: a function from a request to the future of its answer. The future always
/// ends: it is given up when it takes too long, and a panic is an answer too.
pub(crate) type Handler =
    Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Payload, Refusal>> + Send + Sync>;

/// The handlers of a server, by the name of the requests they answer.
#[derive(Default)]
pub(crate) struct Handlers {
    by_name: RwLock<HashMap<String, Handler>>,
    counts: Arc<Counts>,
}

/// How many requests there were.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// All of them.
    pub(crate) asked: Counter,
    /// Those that were answered by a refusal.
    pub(crate) refused: Counter,
}

impl Handlers {
    /// `handler` answers requests named `name` from now on; an answer that takes longer than
    /// `limit` is given up.
    pub(crate) fn set<F, A>(&self, name: String, limit: Duration, handler: F)
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Payload, Refusal>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let counts = Arc::clone(&self.counts);
        let guarded: Handler = Arc::new(move |request| {
            let (handler, counts) = (Arc::clone(&handler), Arc::clone(&counts));
            let answer = async move {
                let result = answer(handler, request, limit).await;
                counts.refused.add(u64::from(result.is_err()));
                result
            };
            answer.boxed()
        });
        self.by_name.write().insert(name, guarded);
    }

    /// Whether somebody answers requests named `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.read().contains_key(name)
    }

    /// Who answers requests named `name`.
    pub(crate) fn find(&self, name: &str) -> Option<Handler> {
        let found = self.by_name.read().get(name).cloned();
        self.counts.asked.add(1);
        self.counts.refused.add(u64::from(found.is_none()));
        found
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// The handler's answer, or a refusal when it takes longer than `limit` or panics.
async fn answer<F, A>(
    handler: Arc<F>,
    request: Request,
    limit: Duration,
) -> Result<Payload, Refusal>
where
    F: Fn(Request) -> A,
    A: Future<Output = Result<Payload, Refusal>>,
{
    let name = Arc::clone(&request.name);
    // The handler is called inside the future, so that a panic before its first await is caught.
    let answer = AssertUnwindSafe(async move { handler(request).await }).catch_unwind();
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => {
            tracing::error!(request = %name, "a request handler panicked");
            let message = format!("the handler of {name:?} failed");
            Err(Refusal::new(ErrorCode::INTERNAL, message))
        }
        Err(_elapsed) => {
            let message = format!("the handler of {name:?} took longer than {limit:?}");
            Err(Refusal::new(ErrorCode::TIMEOUT, message))
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers = self.by_name.read();
        f.debug_set().entries(handlers.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, payload: &'static str) -> Request {
        Request {
            name: name.into(),
            payload: Payload::Json(payload.into()),
            session: "session".into(),
            identity: Identity::in_tests(),
        }
    }

    async fn answer(handlers: &Handlers, request: Request) -> Result<String, String> {
        let handler = handlers.find(&request.name).expect("a handler");
        match handler(request).await {
            Ok(answer) => Ok(String::from_utf8_lossy(answer.bytes()).into_owned()),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_end_of_a_handler_is_an_answer() {
        let handlers = Handlers::default();
        let limit = Duration::from_secs(1);
        handlers.set("sum".into(), limit, |request| async move {
            let numbers: Vec<u64> = request.json()?;
            reply(&numbers.iter().sum::<u64>())
        });
        handlers.set("early".into(), limit, |_| -> std::future::Ready<_> { panic!("at once") });
        handlers.set("late".into(), limit, |_| async {
            tokio::task::yield_now().await;
            panic!("later")
        });
        handlers.set("never".into(), limit, |_| std::future::pending());

        assert!(handlers.find("nothing").is_none());
        assert_eq!(answer(&handlers, request("sum", "[1,2,3]")).await, Ok("6".to_owned()));
        let binary = Request { payload: Payload::Binary("x".into()), ..request("sum", "") };
        for (request, says) in [
            (request("sum", "[1,-2]"), "request \"sum\": invalid value"),
            (request("early", "1"), "the handler of \"early\" failed"),
            (request("late", "1"), "the handler of \"late\" failed"),
            (request("never", "1"), "longer than 1s"),
            (binary, "the payload is binary"),
        ] {
            let message = answer(&handlers, request).await.expect_err("a refusal");
            assert!(message.contains(says), "{message}");
        }
        let counts = handlers.counts();
        assert_eq!((counts.asked.get(), counts.refused.get()), (7, 6));
    }
}
