//! What one stream has published.

/// What became of a publish that has not been accepted.
const NOT_ACCEPTED: u64 = u64::MAX;

/// The publisher's side of a stream. Eight bytes per publish, which is what it takes to say for
/// each missing event whether it was accepted and whether a gap covered it.
#[derive(Debug, Default)]
pub(crate) struct StreamLog {
    lane: Option<u32>,
    /// By sequence number less one: the offset told by the acknowledgement.
    offsets: Vec<u64>,
}

impl StreamLog {
    /// Numbers the next publish.
    pub(crate) fn next_seq(&mut self) -> u32 {
        self.offsets.push(NOT_ACCEPTED);
        self.published()
    }

    /// The last number given.
    pub(crate) fn published(&self) -> u32 {
        u32::try_from(self.offsets.len()).unwrap_or(u32::MAX)
    }

    /// Notes the acknowledgement of `seq`, with its place if the client was told one.
    pub(crate) fn accepted(&mut self, seq: u32, place: Option<(u32, u64)>) {
        let (lane, offset) = place.map_or((None, 0), |(lane, offset)| (Some(lane), offset));
        self.lane = lane.or(self.lane);
        if let Some(entry) = self.offsets.get_mut(seq as usize - 1) {
            *entry = offset;
        }
    }

    /// Whether `seq` was acknowledged.
    pub(crate) fn was_accepted(&self, seq: u32) -> bool {
        self.offset(seq).is_some()
    }

    /// Where `seq` is in the log, if that is known.
    pub(crate) fn place(&self, seq: u32) -> Option<(u32, u64)> {
        Some((self.lane?, self.offset(seq).filter(|offset| *offset > 0)?))
    }

    fn offset(&self, seq: u32) -> Option<u64> {
        let at = (seq as usize).checked_sub(1)?;
        self.offsets.get(at).copied().filter(|offset| *offset != NOT_ACCEPTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_where_each_publish_went() {
        let mut log = StreamLog::default();
        assert_eq!([log.next_seq(), log.next_seq(), log.next_seq()], [1, 2, 3]);
        log.accepted(1, Some((5, 100)));
        log.accepted(3, Some((5, 300)));
        assert_eq!(log.place(1), Some((5, 100)));
        assert!(!log.was_accepted(2));
        assert_eq!(log.place(2), None);
        assert_eq!(log.place(9), None);
    }

    #[test]
    fn a_client_that_tells_no_place_still_counts_as_accepted() {
        let mut log = StreamLog::default();
        log.next_seq();
        log.accepted(1, None);
        assert!(log.was_accepted(1));
        assert_eq!(log.place(1), None);
    }
}
