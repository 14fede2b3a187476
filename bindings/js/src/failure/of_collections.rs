//! What can go wrong with collections.

use tidings::Advice;
use tidings::collection::{ChangeError, MutateError, OpenError, Rejection, WriteError};

use super::Failure;

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::new("storage", error, Advice::Retry)
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        let reason = Some(rejection.reason.as_str());
        Self { reason, ..Self::new("rejected", rejection, Advice::GiveUp) }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Mutate(error) => error.into(),
            error => Self::bad_argument(error),
        }
    }
}

impl From<MutateError> for Failure {
    fn from(error: MutateError) -> Self {
        match error {
            MutateError::Rejected(rejection) => rejection.into(),
            error @ MutateError::Full { .. } => Self::new("queue-full", error, Advice::Retry),
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Rejected(rejection) => rejection.into(),
            error @ WriteError::Closed => Self::closed(&error.to_string()),
        }
    }
}
