//! What became of the last mutations of each client, for when they come again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{MutationId, Verdict};

/// Verdicts by client; the client that was silent for longest is forgotten first.
#[derive(Debug)]
pub(super) struct Clients {
    max_clients: usize,
    max_verdicts: usize,
    known: BTreeMap<Arc<str>, Known>,
    /// Who was heard when, by a count of all that was heard.
    heard: BTreeMap<u64, Arc<str>>,
    count: u64,
}

#[derive(Debug)]
struct Known {
    last_seq: u64,
    verdicts: VecDeque<(u64, Arc<Verdict>)>,
    heard: u64,
}

impl Clients {
    pub(super) fn new(max_clients: usize, max_verdicts: usize) -> Self {
        let (known, heard) = (BTreeMap::new(), BTreeMap::new());
        Self { max_clients, max_verdicts, known, heard, count: 0 }
    }

    /// The number of the last mutation of this client that was judged; 0 if none is known.
    pub(super) fn last_seq(&self, client: &str) -> u64 {
        self.known.get(client).map_or(0, |known| known.last_seq)
    }

    /// What became of this mutation, if it was judged before.
    pub(super) fn find(&self, id: &MutationId) -> Option<Arc<Verdict>> {
        let known = self.known.get(&id.client).filter(|known| id.seq <= known.last_seq)?;
        let verdict = known.verdicts.iter().find(|(seq, _)| *seq == id.seq);
        Some(verdict.map_or_else(|| Arc::new(Verdict::Forgotten), |(_, verdict)| verdict.clone()))
    }

    /// This mutation was judged.
    pub(super) fn remember(&mut self, id: &MutationId, verdict: Arc<Verdict>) {
        self.count += 1;
        let known = self.known.entry(id.client.clone()).or_insert_with(|| Known {
            last_seq: 0,
            verdicts: VecDeque::new(),
            heard: 0,
        });
        self.heard.remove(&known.heard);
        self.heard.insert(self.count, id.client.clone());
        known.heard = self.count;
        known.last_seq = id.seq;
        known.verdicts.push_back((id.seq, verdict));
        if known.verdicts.len() > self.max_verdicts {
            known.verdicts.pop_front();
        }
        if self.known.len() > self.max_clients
            && let Some((_, client)) = self.heard.pop_first()
        {
            self.known.remove(&client);
        }
    }
}
