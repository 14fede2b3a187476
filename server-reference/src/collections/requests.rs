//! What clients ask of a collection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_core::Payload;
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::state::wire::{self, WireError};
use tidings_core::state::{Limits, Policy};

use super::hosted::Hosted;
use crate::handlers::{Handlers, Request};

/// Answers requests to load and to mutate the collection.
pub(super) fn answer(hosted: &Arc<Hosted>, limit: Duration, handlers: &Handlers) {
    let (loaded, policy) = (Arc::clone(hosted), hosted.policy());
    handlers.set(wire::load_name(hosted.name()), limit, move |request| {
        std::future::ready(load(&loaded, &policy, &request))
    });
    let (mutated, limits) = (Arc::clone(hosted), hosted.limits());
    handlers.set(wire::mutate_name(hosted.name()), limit, move |request| {
        std::future::ready(mutate(&mutated, &limits, &request))
    });
}

fn load(hosted: &Hosted, policy: &Policy, request: &Request) -> Result<Payload, Refusal> {
    let load = wire::read_load(json(request)?).map_err(|error| refusal(request, &error))?;
    let page = hosted.load(&load);
    Ok(Payload::Json(wire::write_loaded(policy, &page).into()))
}

fn mutate(hosted: &Hosted, limits: &Limits, request: &Request) -> Result<Payload, Refusal> {
    let mutations = wire::read_mutate(json(request)?, limits);
    let mutations = mutations.map_err(|error| refusal(request, &error))?;
    if mutations.len() > limits.max_verdicts {
        let most = limits.max_verdicts;
        let problem = format!("at most {most} mutations fit one request");
        let error = WireError { at: "mutations".to_owned(), problem };
        return Err(refusal(request, &error));
    }
    let judge = |mutation: tidings_core::state::Mutation| {
        let seq = mutation.id.as_ref().map(|id| id.seq);
        (seq, hosted.mutate(mutation))
    };
    let verdicts: Vec<_> = mutations.into_iter().map(judge).collect();
    let verdicts = verdicts.iter().map(|(seq, verdict)| (*seq, &**verdict));
    Ok(Payload::Json(wire::write_verdicts(verdicts).into()))
}

fn json(request: &Request) -> Result<&Bytes, Refusal> {
    match &request.payload {
        Payload::Json(json) => Ok(json),
        Payload::Binary(_) => {
            let problem = "is binary, JSON is wanted".to_owned();
            Err(refusal(request, &WireError { at: "payload".to_owned(), problem }))
        }
    }
}

fn refusal(request: &Request, error: &WireError) -> Refusal {
    Refusal::new(ErrorCode::BAD_REQUEST, format!("request {:?}: {error}", request.name))
}
