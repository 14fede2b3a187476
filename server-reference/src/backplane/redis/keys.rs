//! What things are called in Redis, and in which slot they are.

use tidings_core::lane::Lane;

/// How many hash slots a cluster has.
const SLOTS: u16 = 16_384;

/// The names of a lane's keys. All of a partition are in one slot.
#[derive(Debug, Clone)]
pub(super) struct LaneKeys {
    /// The events.
    pub(super) stream: String,
    /// Where it stands.
    pub(super) meta: String,
    /// What is remembered of producers, in two generations.
    pub(super) seen: [String; 2],
}

impl LaneKeys {
    pub(super) fn new(prefix: &str, lane: Lane) -> Self {
        let stream = format!("{}:{}", channel(prefix, lane.partition()), lane.priority());
        Self {
            meta: format!("{stream}:meta"),
            seen: [format!("{stream}:seen0"), format!("{stream}:seen1")],
            stream,
        }
    }
}

/// The names of a collection's keys, all in the slot of its partition: records, latest, deletions,
/// meta, judged, heard; see `scripts/collection.lua`.
pub(super) fn collection(prefix: &str, partition: u16, name: &str) -> [String; 6] {
    let first = format!("{}:state:{name}", channel(prefix, partition));
    ["records", "latest", "deletions", "meta", "judged", "heard"]
        .map(|part| format!("{first}:{part}"))
}

/// The name of the key with the times until which records of a collection last.
pub(super) fn leases(collection: &[String; 6]) -> String {
    let [records, ..] = collection;
    format!("{}:leases", records.strip_suffix(":records").unwrap_or(records))
}

/// The sharded channel of a partition.
pub(super) fn channel(prefix: &str, partition: u16) -> String {
    format!("{prefix}:{{p{partition}}}")
}

/// The partition of a channel.
pub(super) fn partition_of(prefix: &str, channel: &[u8]) -> Option<u16> {
    let rest = channel.strip_prefix(prefix.as_bytes())?.strip_prefix(b":{p")?;
    std::str::from_utf8(rest.strip_suffix(b"}")?).ok()?.parse().ok()
}

/// The hash of instances.
pub(super) fn instances(prefix: &str) -> String {
    format!("{prefix}:{{instances}}")
}

/// The hash slot of a key: CRC-16 (XMODEM) of what stands in its first braces, or of all of it.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = hashed.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use tidings_core::Priority;

    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` answers.
        assert_eq!(slot("123456789"), 12739);
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_eq!(slot("foo{}{bar}"), slot("foo{}{bar}"));
    }

    #[test]
    fn all_of_a_partition_is_in_one_slot() {
        let keys = LaneKeys::new("tidings", Lane::new(3, Priority::High));
        assert_eq!(keys.stream, "tidings:{p3}:high");
        for key in [&keys.stream, &keys.meta, &keys.seen[0], &keys.seen[1]] {
            assert_eq!(slot(key), slot(&channel("tidings", 3)));
        }
        for key in collection("tidings", 3, "a{b}") {
            assert_eq!(slot(&key), slot(&channel("tidings", 3)));
        }
        assert_eq!(partition_of("tidings", b"tidings:{p3}"), Some(3));
        assert_eq!(partition_of("tidings", b"tidings:{p3}x"), None);
        assert_eq!(partition_of("other", b"tidings:{p3}"), None);
    }
}
