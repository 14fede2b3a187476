//! Answering what clients ask.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_core::Payload;
use tidings_core::message::{ErrorCode, Refusal};

/// What a client asks.
#[derive(Debug, Clone)]
pub struct Request {
    /// The name of the request, which chose the handler.
    pub name: Arc<str>,
    /// With what.
    pub payload: Payload,
    /// The id of the session that asks.
    pub session: Arc<str>,
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

type Handler = dyn Fn(Request) -> BoxFuture<'static, Result<Payload, Refusal>> + Send + Sync;

/// The handlers by the name of the requests they answer.
#[derive(Default)]
pub(crate) struct Handlers(RwLock<HashMap<String, Arc<Handler>>>);

impl Handlers {
    /// Answers requests of this name from now on, instead of the handler that did before.
    pub(crate) fn insert<F, A>(&self, name: String, handler: F)
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Payload, Refusal>> + Send + 'static,
    {
        let handler: Arc<Handler> = Arc::new(move |request| handler(request).boxed());
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, handler);
    }

    /// The answer to a request: the handler's, or a refusal when there is none, when it takes
    /// longer than `limit`, or when it panics.
    pub(crate) async fn answer(
        &self,
        request: Request,
        limit: Duration,
    ) -> Result<Payload, Refusal> {
        let found = {
            let handlers = self.0.read().unwrap_or_else(PoisonError::into_inner);
            handlers.get(&*request.name).cloned()
        };
        let name = Arc::clone(&request.name);
        let Some(handler) = found else {
            let message = format!("nobody handles requests named {name:?}");
            return Err(Refusal::new(ErrorCode::NO_HANDLER, message));
        };
        // The request starts inside the future, so that a panic before the first await is caught.
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
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers = self.0.read().unwrap_or_else(PoisonError::into_inner);
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
        }
    }

    async fn ask(handlers: &Handlers, name: &str, payload: &'static str) -> Result<String, String> {
        match handlers.answer(request(name, payload), Duration::from_secs(1)).await {
            Ok(answer) => Ok(String::from_utf8_lossy(answer.bytes()).into_owned()),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_end_of_a_handler_is_an_answer() {
        let handlers = Handlers::default();
        handlers.insert("sum".into(), |request| async move {
            let numbers: Vec<u64> = request.json()?;
            reply(&numbers.iter().sum::<u64>())
        });
        handlers.insert("early".into(), |_| -> std::future::Ready<_> { panic!("at once") });
        handlers.insert("late".into(), |_| async {
            tokio::task::yield_now().await;
            panic!("later")
        });
        handlers.insert("never".into(), |_| std::future::pending());

        assert_eq!(ask(&handlers, "sum", "[1,2,3]").await, Ok("6".to_owned()));
        let says = |result: Result<String, String>, text: &str| {
            let message = result.expect_err("a refusal");
            assert!(message.contains(text), "{message}");
        };
        says(ask(&handlers, "sum", "[1,-2]").await, "column 5");
        says(ask(&handlers, "nothing", "1").await, "nobody handles requests named \"nothing\"");
        says(ask(&handlers, "early", "1").await, "the handler of \"early\" failed");
        says(ask(&handlers, "late", "1").await, "the handler of \"late\" failed");
        says(ask(&handlers, "never", "1").await, "longer than 1s");
        let binary = Request { payload: Payload::Binary("x".into()), ..request("sum", "") };
        says(
            handlers
                .answer(binary, Duration::from_secs(1))
                .await
                .map(|_| String::new())
                .map_err(|refusal| refusal.message),
            "binary",
        );
    }
}
