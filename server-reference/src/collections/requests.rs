//! What clients ask of a collection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_core::Payload;
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::state::wire::{self, WireError};

use super::hosted::Hosted;
use crate::handlers::{Handlers, Request};

/// Answers requests to load and to mutate the collection.
pub(super) fn answer(hosted: &Arc<Hosted>, limit: Duration, handlers: &Handlers) {
    let loaded = Arc::clone(hosted);
    handlers.set(wire::load_name(hosted.name()), limit, move |request| {
        load(Arc::clone(&loaded), request)
    });
    let mutated = Arc::clone(hosted);
    handlers.set(wire::mutate_name(hosted.name()), limit, move |request| {
        mutate(Arc::clone(&mutated), request)
    });
}

async fn load(hosted: Arc<Hosted>, request: Request) -> Result<Payload, Refusal> {
    let load = wire::read_load(json(&request)?).map_err(|error| refusal(&request, &error))?;
    let page = hosted.load(&load).await?;
    Ok(Payload::Json(wire::write_loaded(&hosted.rules().policy, &page).into()))
}

async fn mutate(hosted: Arc<Hosted>, request: Request) -> Result<Payload, Refusal> {
    let limits = &hosted.rules().limits;
    let mutations = wire::read_mutate(json(&request)?, limits);
    let mutations = mutations.map_err(|error| refusal(&request, &error))?;
    if mutations.len() > limits.max_verdicts {
        let most = limits.max_verdicts;
        let problem = format!("at most {most} mutations fit one request");
        let error = WireError { at: "mutations".to_owned(), problem };
        return Err(refusal(&request, &error));
    }
    let seqs: Vec<_> =
        mutations.iter().map(|mutation| mutation.id.as_ref().map(|id| id.seq)).collect();
    let verdicts = hosted.mutate(mutations).await?;
    let verdicts = seqs.into_iter().zip(verdicts.iter().map(|verdict| &**verdict));
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
