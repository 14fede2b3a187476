//! Errors as the page has them: `{"code","message","retryable","refusal","reason"}`.

use tidings::error::{
    BuildError, Closed, EventError, PublishError, RequestError, SubscribeError, SwitchError,
};
use tidings::{Advice, Close, Refusal};
use tidings_core::client;
use tidings_core::json::Writer;

#[cfg(feature = "collections")]
mod of_collections;

/// An error as the page has it.
pub(crate) struct Failure {
    code: &'static str,
    message: String,
    retryable: bool,
    refusal: Option<u16>,
    reason: Option<&'static str>,
}

impl Failure {
    fn new(code: &'static str, message: impl ToString, advice: Advice) -> Self {
        let retryable = advice != Advice::GiveUp;
        Self { code, message: message.to_string(), retryable, refusal: None, reason: None }
    }

    pub(crate) fn bad_argument(message: impl ToString) -> Self {
        Self::new("bad-argument", message, Advice::GiveUp)
    }

    pub(crate) fn closed(reason: &str) -> Self {
        Self::new("closed", reason, Advice::GiveUp)
    }

    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        w.begin_object().key("code").str(self.code).key("message").str(&self.message);
        w.key("retryable").bool(self.retryable);
        if let Some(refusal) = self.refusal {
            w.key("refusal").u64(refusal.into());
        }
        if let Some(reason) = self.reason {
            w.key("reason").str(reason);
        }
        w.end_object();
    }

    /// The text that a function throws.
    pub(crate) fn text(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut Writer::new(&mut out));
        String::from_utf8(out).unwrap_or_default()
    }
}

/// What a function throws that needs something that is closed.
pub(crate) fn closed(message: &str) -> String {
    Failure::closed(message).text()
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::bad_argument(error)
    }
}

impl From<Closed> for Failure {
    fn from(Closed(close): Closed) -> Self {
        close.into()
    }
}

impl From<Close> for Failure {
    fn from(close: Close) -> Self {
        Self { refusal: Some(close.code.0), ..Self::closed(&close.reason) }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = Some(refusal.code.0);
        Self { refusal: code, ..Self::new("refused", refusal.message, refusal.code.advice()) }
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Refused(refusal) => refusal.into(),
            SubscribeError::Closed(closed) => closed.into(),
        }
    }
}

impl From<EventError> for Failure {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Refused(refusal) => refusal.into(),
            EventError::Closed(closed) => closed.into(),
            error => Self::new("internal", &error, error.advice()),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let code = match error {
            PublishError::Client(client::PublishError::Refused(refusal)) => return refusal.into(),
            PublishError::Client(client::PublishError::Closed(close)) => return close.into(),
            PublishError::Payload(_) | PublishError::Name(_) => "bad-argument",
            PublishError::Client(client::PublishError::QueueFull { .. }) => "queue-full",
            PublishError::Client(client::PublishError::Expired(_)) => "expired",
            PublishError::Client(client::PublishError::TimedOut(_)) => "timeout",
            PublishError::Client(client::PublishError::NotConnected) => "not-connected",
        };
        Self::new(code, &error, error.advice())
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let code = match error {
            RequestError::Client(client::RequestError::Refused(refusal)) => return refusal.into(),
            RequestError::Client(client::RequestError::Closed(close)) => return close.into(),
            RequestError::Payload(_) | RequestError::Reply(_) => "bad-argument",
            RequestError::Client(client::RequestError::TooMany(_)) => "queue-full",
            RequestError::Client(client::RequestError::TimedOut(_)) => "timeout",
            RequestError::Client(client::RequestError::Disconnected(_)) => "disconnected",
        };
        Self::new(code, &error, error.advice())
    }
}

impl From<SwitchError> for Failure {
    fn from(error: SwitchError) -> Self {
        match error {
            SwitchError::Closed(close) => close.into(),
            error => Self::new("switch-failed", &error, error.advice()),
        }
    }
}
