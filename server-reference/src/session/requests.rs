//! Questions that are open on one connection: the client's to the server's handlers, the
//! server's to the client, and publishes the log has not answered yet.

use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tidings_core::Payload;
use tidings_core::message::{ErrorCode, Position, Refusal, RequestId};
use tokio::sync::oneshot;

use crate::backplane::Prepared;
use crate::handlers::{Handlers, Request};

const FIRST_REQUEST: u32 = tidings_core::socketio::FIRST_REQUEST;

/// Something that was waited for.
pub(super) enum Answer {
    /// A handler has answered the client's request.
    Reply(RequestId, Result<Payload, Refusal>),
    /// The log has answered the client's publish.
    Published(u64, Result<Position, Refusal>),
    /// What a message that is held back needs can be read here.
    Prepared,
    /// A request that was withdrawn meanwhile.
    None,
}

/// The open questions of a connection. Handlers run inside the connection's own task, so that
/// they end with it.
#[derive(Default)]
pub(super) struct Requests {
    max: usize,
    /// Allocated with the first question: most connections never ask one.
    running: Option<Box<Running>>,
}

#[derive(Default)]
struct Running {
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// The client's requests, to withdraw them.
    asked: HashMap<RequestId, AbortHandle>,
    /// The server's requests.
    begun: HashMap<RequestId, oneshot::Sender<Result<Payload, Refusal>>>,
    next_id: u32,
}

impl Requests {
    /// At most `max` requests of the client run at once.
    pub(super) fn new(max: usize) -> Self {
        Self { max, running: None }
    }

    fn running(&mut self) -> &mut Running {
        self.running.get_or_insert_with(Box::default)
    }

    /// Starts the handler of a client's request, or says why not.
    pub(super) fn ask(
        &mut self,
        handlers: &Handlers,
        id: RequestId,
        request: Request,
    ) -> Result<(), Refusal> {
        let Some(handler) = handlers.find(&request.name) else {
            let message = format!("nobody handles requests named {:?}", request.name);
            return Err(Refusal::new(ErrorCode::NO_HANDLER, message));
        };
        let max = self.max;
        let running = self.running();
        if running.asked.len() >= max {
            let message = format!("more than {max} requests are unanswered (max_requests)");
            return Err(Refusal::new(ErrorCode::TOO_MANY, message));
        }
        let (abort, registration) = AbortHandle::new_pair();
        running.asked.insert(id, abort);
        let answer = handler(request);
        running.answers.push(Box::pin(async move {
            match Abortable::new(answer, registration).await {
                Ok(result) => Answer::Reply(id, result),
                Err(_withdrawn) => Answer::None,
            }
        }));
        Ok(())
    }

    /// How many requests of the client are unanswered.
    pub(super) fn unanswered(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.asked.len())
    }

    /// The client does not wait for the answer any more.
    pub(super) fn cancel(&mut self, id: RequestId) {
        if let Some(abort) = self.running.as_mut().and_then(|running| running.asked.remove(&id)) {
            abort.abort();
        }
    }

    /// The log will answer the client's publish `seq` later.
    pub(super) fn publishing(
        &mut self,
        seq: u64,
        answer: Pin<Box<dyn Future<Output = Result<Position, Refusal>> + Send>>,
    ) {
        let answers = &self.running().answers;
        answers.push(Box::pin(async move { Answer::Published(seq, answer.await) }));
    }

    /// What a message that is held back needs will be readable.
    pub(super) fn preparing(&mut self, prepared: Prepared) {
        let answers = &self.running().answers;
        answers.push(Box::pin(async move {
            prepared.await;
            Answer::Prepared
        }));
    }

    /// A request to the client begins; `answer` gets its reply.
    pub(super) fn begin(&mut self, answer: oneshot::Sender<Result<Payload, Refusal>>) -> RequestId {
        let running = self.running();
        running.begun.retain(|_, waiting| !waiting.is_closed());
        // The numbers below are for the acknowledgements of an application in the same namespace.
        running.next_id = (running.next_id + 1) % FIRST_REQUEST;
        let id = RequestId(FIRST_REQUEST + running.next_id);
        running.begun.insert(id, answer);
        id
    }

    /// The client has replied. A reply nobody waits for is nobody's loss.
    pub(super) fn replied(&mut self, id: RequestId, result: Result<Payload, Refusal>) {
        if let Some(answer) = self.running.as_mut().and_then(|running| running.begun.remove(&id)) {
            let _ = answer.send(result);
        }
    }

    /// Waits for the next answer; for ever when nothing is open.
    pub(super) async fn next(&mut self) -> Answer {
        let Some(running) = &mut self.running else { return pending().await };
        match running.answers.next().await {
            Some(answer) => {
                if let Answer::Reply(id, _) = &answer {
                    running.asked.remove(id);
                }
                answer
            }
            None => pending().await,
        }
    }
}
