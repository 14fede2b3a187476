//! Errors as RFC 9457 problem details.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::message::{ErrorCode, Refusal};

/// An error response: `application/problem+json` with a status and what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    headers: Vec<(HeaderName, &'static str)>,
}

/// What went wrong (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Body<'a> {
    /// Always `about:blank`: the status says what sort of problem it is.
    r#type: &'static str,
    /// The status in words.
    title: &'a str,
    /// The status.
    status: u16,
    /// What was wrong, and what would be right.
    detail: &'a str,
}

impl Problem {
    /// A problem with this status; `detail` says what was wrong and what would be right.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), headers: Vec::new() }
    }

    /// What is wrong with a part of the request.
    pub(crate) fn of_part(part: &str, refusal: Refusal) -> Self {
        let mut problem = Self::from(refusal);
        problem.detail = format!("{part}: {}", problem.detail);
        problem
    }

    /// With this response header.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The whole response, for a connection that is closed then.
    pub(crate) fn as_last_answer(&self) -> String {
        let body = self.body();
        let mut answer = format!("HTTP/1.1 {}\r\nContent-Type: {MEDIA_TYPE}\r\n", self.status);
        for (name, value) in &self.headers {
            answer += &format!("{name}: {value}\r\n");
        }
        answer + &format!("Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    /// The JSON text.
    fn body(&self) -> String {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            ErrorCode::FORBIDDEN => StatusCode::FORBIDDEN,
            ErrorCode::TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::INVALID => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::TOO_MANY => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::UNAVAILABLE => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::INTERNAL => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, refusal.message)
    }
}

pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.body();
        let problem = self.header(header::CONTENT_TYPE, MEDIA_TYPE);
        let headers: HeaderMap = problem
            .headers
            .into_iter()
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect();
        (problem.status, headers, body).into_response()
    }
}
