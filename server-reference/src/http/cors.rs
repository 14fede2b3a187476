//! Requests from pages of other origins, answered as Socket.IO's `cors` option has them answered.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use crate::config::Cors;

/// What the answer to a request says about its origin: nothing when CORS is off.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    config: &'a Cors,
    request: HeaderMap,
}

impl<'a> Answer<'a> {
    /// For a request with these headers.
    pub(super) fn to(config: &'a Cors, request: &HeaderMap) -> Self {
        let asked = [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_HEADERS];
        let kept = asked.into_iter().filter_map(|name| {
            let value = request.get(&name)?.clone();
            Some((name, value))
        });
        Self { config, request: kept.collect() }
    }

    fn is_off(&self) -> bool {
        self.config.origins.is_empty()
    }

    /// The answer to a preflight request. `None` if this is none, or CORS is off.
    pub(super) fn preflight(&self, method: &Method) -> Option<Response> {
        if self.is_off() || method != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.origin(headers);
        put(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &self.config.methods.join(","));
        if self.config.allowed_headers.is_empty() {
            if let Some(asked) = self.request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            }
            vary(headers, header::ACCESS_CONTROL_REQUEST_HEADERS);
        } else {
            let allowed = self.config.allowed_headers.join(",");
            put(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, &allowed);
        }
        if !self.config.max_age.is_zero() {
            let seconds = self.config.max_age.as_secs().to_string();
            put(headers, header::ACCESS_CONTROL_MAX_AGE, &seconds);
        }
        self.exposed(headers);
        Some(response)
    }

    /// Lets a page of an allowed origin read the response.
    pub(super) fn allow(&self, response: &mut Response) {
        if !self.is_off() {
            self.origin(response.headers_mut());
            self.exposed(response.headers_mut());
        }
    }

    fn origin(&self, headers: &mut HeaderMap) {
        if self.config.origins.iter().any(|origin| origin == "*") {
            put(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
            return;
        }
        let allowed = self.request.get(header::ORIGIN).filter(|origin| {
            let is = |known: &String| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
            self.config.origins.iter().any(is)
        });
        if let Some(origin) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        vary(headers, header::ORIGIN);
        if self.config.credentials {
            put(headers, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
    }

    fn exposed(&self, headers: &mut HeaderMap) {
        let exposed = self.config.exposed_headers.join(",");
        put(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &exposed);
    }
}

/// Sets a header; an empty value leaves it out.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Some(value) = HeaderValue::from_str(value).ok().filter(|value| !value.is_empty()) {
        headers.insert(name, value);
    }
}

/// Says that the answer depends on that header of the request.
fn vary(headers: &mut HeaderMap, on: HeaderName) {
    if let Ok(name) = HeaderValue::from_bytes(on.as_str().as_bytes()) {
        headers.append(header::VARY, name);
    }
}
