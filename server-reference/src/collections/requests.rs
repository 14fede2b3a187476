//! What clients ask of a collection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_core::Payload;
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::state::wire::{self, WireError};
use tidings_core::state::{Asked, Document, Key, Mutation};

use super::access::Asker;
use super::hosted::Hosted;
use super::presence;
use super::sensitive::View;
use crate::handlers::{Handlers, Request};

/// Answers requests to load and to mutate the collection.
pub(super) fn answer(hosted: &Arc<Hosted>, limit: Duration, handlers: &Handlers) {
    let loaded = Arc::clone(hosted);
    handlers.set(wire::load_name(hosted.name()), limit, move |request| {
        load(Arc::clone(&loaded), request)
    });
    if let Some(timeout) = hosted.presence() {
        let joined = Arc::clone(hosted);
        handlers.set(wire::join_name(hosted.name()), limit, move |request| {
            join(Arc::clone(&joined), timeout, request)
        });
        let left = Arc::clone(hosted);
        handlers.set(wire::leave_name(hosted.name()), limit, move |request| {
            leave(Arc::clone(&left), request)
        });
    }
    let mutated = Arc::clone(hosted);
    handlers.set(wire::mutate_name(hosted.name()), limit, move |request| {
        mutate(Arc::clone(&mutated), request)
    });
}

async fn load(hosted: Arc<Hosted>, request: Request) -> Result<Payload, Refusal> {
    hosted.permissions().read(hosted.name(), &asker(&request))?;
    let load = wire::read_load(json(&request)?).map_err(|error| refusal(&request, &error))?;
    let page = View::new(&hosted, &request.identity).page(hosted.load(&load).await?);
    Ok(Payload::Json(wire::write_loaded(&hosted.rules().policy, &page).into()))
}

async fn mutate(hosted: Arc<Hosted>, request: Request) -> Result<Payload, Refusal> {
    let limits = &hosted.rules().limits;
    let mutations = wire::read_mutate(json(&request)?, limits);
    let mutations = mutations.map_err(|error| refusal(&request, &error))?;
    if mutations.len() > limits.max_mutations {
        let most = limits.max_mutations;
        let problem = format!("at most {most} mutations fit one request (max_mutations)");
        let error = WireError { at: "mutations".to_owned(), problem };
        return Err(refusal(&request, &error));
    }
    let seq = |asked: &Asked| asked.mutation.id.as_ref().map(|id| id.seq);
    let seqs: Vec<_> = mutations.iter().map(seq).collect();
    let asker = asker(&request);
    let view = View::new(&hosted, &request.identity);
    let judge = |asked| view.asked(hosted.permissions().judge(hosted.name(), &asker, asked));
    let verdicts = hosted.mutate(mutations.into_iter().map(judge).collect()).await?;
    let verdicts: Vec<_> = verdicts.iter().map(|verdict| view.verdict(verdict)).collect();
    let verdicts = seqs.into_iter().zip(verdicts.iter().map(|verdict| &**verdict));
    Ok(Payload::Json(wire::write_verdicts(verdicts).into()))
}

async fn join(
    hosted: Arc<Hosted>,
    timeout: Duration,
    request: Request,
) -> Result<Payload, Refusal> {
    let key = own_key(&request)?;
    let value = Document::parse(json(&request)?, hosted.rules().limits.max_depth);
    let value = value.map_err(|error| {
        let (at, problem) = ("payload".to_owned(), error.to_string());
        refusal(&request, &WireError { at, problem })
    })?;
    let asker = asker(&request);
    let view = View::new(&hosted, &request.identity);
    let judge = |mutation: Mutation| {
        view.asked(hosted.permissions().judge(hosted.name(), &asker, mutation.into()))
    };
    let verdict = presence::join(&hosted, &key, value, judge).await?;
    let verdict = view.verdict(&verdict);
    Ok(Payload::Json(wire::write_joined(&key, timeout, &verdict).into()))
}

async fn leave(hosted: Arc<Hosted>, request: Request) -> Result<Payload, Refusal> {
    let verdict = presence::leave(&hosted, own_key(&request)?).await?;
    let verdict = View::new(&hosted, &request.identity).verdict(&verdict);
    Ok(Payload::Json(wire::write_one_verdict(&verdict).into()))
}

/// The key of the record that a session may have.
fn own_key(request: &Request) -> Result<Key, Refusal> {
    Key::new(Arc::clone(&request.session)).map_err(|error| {
        let (at, problem) = ("session".to_owned(), error.to_string());
        refusal(request, &WireError { at, problem })
    })
}

fn asker(request: &Request) -> Asker {
    Asker { session: Arc::clone(&request.session), identity: request.identity.clone() }
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
