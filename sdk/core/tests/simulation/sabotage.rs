//! Faults that are built in on purpose, and must be noticed: a judgement that cannot fail is worth
//! nothing.

use tidings_core::log::shared::{Answer, AppendAnswer, Direction, Outcome, Request};

use crate::instance::Instance;
use crate::redis::Redis;
use crate::world::World;

/// What is done wrong, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Servers do not hand out an event now and then.
    LoseEvents,
    /// Servers do not recognise publishes sent again.
    ForgetProducers,
    /// Servers hand events out in the wrong order.
    SwapEvents,
    /// The Redis does not remember which numbers of a producer it has.
    ForgetNumbers,
    /// A notice does not tell which event came before: whatever comes seems to be the next.
    BlindNotices,
    /// Who reads what it has missed gets all but the first of it.
    SkipHoles,
    /// Nothing is put back after a failover.
    PutNothingBack,
    /// A master that took over goes by a clock that is slow, and by nothing else.
    GiveAgain,
    /// Critical events are acknowledged before a replica has them.
    AcknowledgeAlone,
    /// Clients do not tell gaps.
    HideGaps,
}

impl Sabotage {
    /// Those of servers, whatever joins them.
    pub(crate) const OF_SERVERS: [Self; 3] =
        [Self::LoseEvents, Self::ForgetProducers, Self::SwapEvents];
    /// Those of a Redis and of what instances make of it.
    pub(crate) const OF_REDIS: [Self; 7] = [
        Self::ForgetNumbers,
        Self::BlindNotices,
        Self::SkipHoles,
        Self::PutNothingBack,
        Self::GiveAgain,
        Self::AcknowledgeAlone,
        Self::HideGaps,
    ];
}

impl World {
    pub(crate) fn is_sabotaged(&self, how: Sabotage) -> bool {
        self.sabotage == Some(how)
    }
}

impl Redis {
    /// What is answered instead of carrying a request out.
    pub(crate) fn instead(&self, request: &Request) -> Option<Answer> {
        match (self.sabotage?, request) {
            (Sabotage::PutNothingBack, Request::Append(append)) if append.putting_back => {
                let places = append.events.iter().map(|(_, place)| place.unwrap_or_default());
                let outcomes = places.map(Outcome::Known).collect();
                let head = self.head(append.lane).unwrap_or(append.known);
                Some(Answer::Appended(AppendAnswer::Done { head, outcomes }))
            }
            (Sabotage::AcknowledgeAlone, Request::Replicate { .. }) => Some(Answer::Replicated),
            _ => None,
        }
    }

    /// What a request becomes on its way.
    pub(crate) fn distorted(&self, partition: usize, request: &Request) -> Option<Request> {
        let Request::Append(append) = request else { return None };
        let is_new = self.shards[partition].takeovers > 0;
        if self.sabotage != Some(Sabotage::GiveAgain) || !is_new {
            return None;
        }
        let mut append = append.clone();
        (append.given, append.known) = Default::default();
        Some(Request::Append(append))
    }

    /// What becomes of an answer.
    pub(crate) fn spoil(&self, request: &Request, answer: &mut Answer) {
        if let (Request::Read { direction: Direction::After, .. }, Answer::Chunk(chunk)) =
            (request, answer)
            && self.sabotage == Some(Sabotage::SkipHoles)
            && !chunk.entries.is_empty()
        {
            chunk.entries.remove(0);
        }
    }
}

impl Instance {
    /// A notice whose first event seems to follow what is here.
    pub(crate) fn blinded(&mut self, partition: usize, message: &[u8]) -> Option<Vec<u8>> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
        let mut parts = message.splitn(4, |byte| *byte == b':');
        let (head, offset, _, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let priority = head.get(1)? - b'0';
        let mut copies = self.machines[partition].copies();
        let copy = copies.find(|copy| copy.lane().priority() as u8 == priority)?;
        let here = copy.head().offset.0;
        if text(offset)? <= here {
            return None;
        }
        let here = here.to_string();
        Some([head, offset, here.as_bytes(), rest].join(&b':'))
    }
}
