//! Who makes a request: the token in `Authorization: Bearer`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::accept::Origin;
use super::problem::Problem;
use crate::app::App;
use crate::auth::{Denied, Identity};

/// Whoever makes the request. A handler that asks for one is not called for somebody who is not let
/// in.
#[derive(Debug)]
pub(super) struct Caller(pub(super) Identity);

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        identify(app, parts).map(Self).map_err(|denied| {
            app.stats.denied(&denied);
            if denied.passes() {
                return Problem::new(StatusCode::TOO_MANY_REQUESTS, denied.to_string())
                    .header(header::RETRY_AFTER, "10");
            }
            Problem::new(StatusCode::UNAUTHORIZED, denied.to_string())
                .header(header::WWW_AUTHENTICATE, "Bearer")
        })
    }
}

/// Somebody who may see and do what is about the server and all of its clients. A handler that asks
/// for one is not called for anybody else.
#[derive(Debug)]
pub(super) struct Admin;

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Caller(identity) = Caller::from_request_parts(parts, app).await?;
        if identity.rights().is_admin() {
            return Ok(Self);
        }
        let detail = "this needs a token whose claim `admin` is true";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

/// Somebody who may see the metrics.
#[derive(Debug)]
pub(super) struct Told;

impl FromRequestParts<Arc<App>> for Told {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        if !app.config.metrics.open {
            let Admin = Admin::from_request_parts(parts, app).await?;
        }
        Ok(Self)
    }
}

/// The last part of the path, whatever it is.
#[derive(Debug)]
pub(super) struct Id(pub(super) String);

impl FromRequestParts<Arc<App>> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, app).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(error) => {
                let detail = format!("the id in the path is none: {error}");
                Err(Problem::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    }
}

fn identify(app: &App, parts: &Parts) -> Result<Identity, Denied> {
    let headers = &parts.headers;
    let origin = parts.extensions.get::<Origin>();
    let from = origin.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |origin| {
        app.front.client(origin.peer, headers).ip()
    });
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return app.authenticator.identify(None);
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match token {
        Some(token) if token.len() <= app.config.limits.max_token => {
            app.identify(Some(token), from)
        }
        // Without authentication nobody looks at it.
        _ if app.authenticator.is_open() => app.authenticator.identify(None),
        _ => Err(Denied::Malformed),
    }
}
