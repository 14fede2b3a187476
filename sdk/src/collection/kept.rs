//! What a storage keeps of a collection.

use std::sync::Arc;

use tidings_core::json::{self, MAX_DEPTH, Writer};
use tidings_core::state::wire::{read_mutation, write_mutation};
use tidings_core::state::{Mutation, Store};

/// The version of the format.
const VERSION: u64 = 1;

/// What is kept of a collection.
pub(super) struct Kept {
    /// Who it is to the server.
    pub(super) client: Arc<str>,
    /// The numbers below are used.
    pub(super) next_seq: u64,
    /// What the server had not answered.
    pub(super) mutations: Vec<Mutation>,
}

impl Kept {
    /// The text for what has to be kept of `store`.
    pub(super) fn write(store: &Store) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.begin_object().key("tidings").str("pending").key("version").u64(VERSION);
        w.key("client").str(store.client()).key("next_seq").u64(store.next_seq());
        w.key("mutations").begin_array();
        let first = store.first_unanswered().unwrap_or_else(|| store.next_seq());
        for mutation in (first..store.next_seq()).filter_map(|seq| store.mutation(seq)) {
            write_mutation(mutation, &mut w);
        }
        w.end_array().end_object();
        out
    }

    /// What the text says; why it cannot be read.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let kept = json::parse(text, MAX_DEPTH).map_err(|error| error.to_string())?;
        let version = kept.get("version").and_then(|version| version.as_u64());
        if version != Some(VERSION) {
            return Err(format!("its version is not {VERSION}"));
        }
        let client = kept.get("client").and_then(|client| client.as_str());
        let next_seq = kept.get("next_seq").and_then(|next| next.as_u64());
        let mutations = kept.get("mutations").and_then(|mutations| mutations.array());
        let (Some(client), Some(next_seq), Some(mutations)) = (client, next_seq, mutations) else {
            return Err("client, next_seq or mutations is missing".to_owned());
        };
        let client: Arc<str> = Arc::from(&*client);
        let mutations = mutations
            .map(|mutation| read_mutation(mutation, Some(&client), MAX_DEPTH))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, next_seq, mutations })
    }
}
