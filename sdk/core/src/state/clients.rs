//! What became of the last mutations of each client, for when they come again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Limits, MutationId, Verdict, wire};

/// Verdicts by client; the client that was silent for longest is forgotten first.
#[derive(Debug)]
pub(super) struct Clients {
    max_clients: usize,
    max_verdicts: usize,
    max_verdict_bytes: usize,
    known: BTreeMap<Arc<str>, Known>,
    /// Who was heard when, by a count of all that was heard.
    heard: BTreeMap<u64, Arc<str>>,
    count: u64,
}

#[derive(Debug)]
struct Known {
    last_seq: u64,
    verdicts: VecDeque<(u64, Arc<Verdict>)>,
    /// How many bytes they have, as they are written.
    bytes: usize,
    heard: u64,
}

impl Clients {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            max_clients: limits.max_clients,
            max_verdicts: limits.max_verdicts,
            max_verdict_bytes: limits.max_verdict_bytes,
            known: BTreeMap::new(),
            heard: BTreeMap::new(),
            count: 0,
        }
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
            bytes: 0,
            heard: 0,
        });
        self.heard.remove(&known.heard);
        self.heard.insert(self.count, id.client.clone());
        known.heard = self.count;
        known.last_seq = id.seq;
        known.bytes += bytes(&verdict);
        known.verdicts.push_back((id.seq, verdict));
        while known.verdicts.len() > self.max_verdicts || known.bytes > self.max_verdict_bytes {
            let Some((_, oldest)) = known.verdicts.pop_front() else { break };
            known.bytes -= bytes(&oldest);
        }
        if self.known.len() > self.max_clients
            && let Some((_, client)) = self.heard.pop_first()
        {
            self.known.remove(&client);
        }
    }
}

fn bytes(verdict: &Verdict) -> usize {
    wire::write_one_verdict(verdict).len()
}
