//! Confirmed records outlive the process, if somebody stores them.

use super::Store;
use crate::map::Map;
use crate::state::{Change, Key, Record, Stamp, Version};

/// Confirmed records that have changed, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsaved {
    /// With them, everything up to this version is stored.
    pub version: Version,
    /// What the records are now; `None` for those that are not there any more.
    pub records: Map<Key, Option<Record>>,
}

impl Store {
    /// Takes up records that were stored before a restart, as they were when everything up to
    /// `version` was there; before anything else. They are shown, and what has changed since is
    /// loaded.
    pub fn restore_confirmed(&mut self, version: Version, records: Map<Key, Record>) {
        (self.version, self.loaded) = (version, version);
        self.changed.extend(records.keys().cloned());
        self.confirmed = records;
        self.refold(self.stacks.keys().cloned().collect::<Vec<_>>());
    }

    /// Notes from now on which confirmed records change, for [`unsaved`](Self::unsaved).
    pub fn note_unsaved(&mut self) {
        self.unsaved.get_or_insert_default();
    }

    /// The confirmed records that have changed since this was asked last. `None` if none has, or while
    /// a load is not complete: what there is then is not all there was at any one time.
    pub fn unsaved(&mut self) -> Option<Unsaved> {
        let is_whole = !self.loading;
        let keys = self.unsaved.as_mut().filter(|keys| is_whole && !keys.is_empty())?;
        let now = |key: Key| {
            let record = self.confirmed.get(&key).cloned();
            (key, record)
        };
        let records = std::mem::take(keys).into_iter().map(now).collect();
        Some(Unsaved { version: self.version, records })
    }

    /// All confirmed records, to be stored instead of what was. `None` while a load is not complete.
    pub fn all_to_save(&mut self) -> Option<Unsaved> {
        if self.loading {
            return None;
        }
        if let Some(keys) = &mut self.unsaved {
            keys.clear();
        }
        let all = self.confirmed.iter();
        let records = all.map(|(key, record)| (key.clone(), Some(record.clone()))).collect();
        Some(Unsaved { version: self.version, records })
    }

    /// The confirmed state of a record has changed.
    pub(super) fn note(&mut self, key: &Key) {
        if let Some(keys) = &mut self.unsaved {
            keys.insert(key.clone());
        }
    }
}

impl Unsaved {
    /// As changes, by which records are stored.
    pub fn changes(self) -> impl Iterator<Item = Change> {
        let version = self.version;
        self.records.into_iter().map(move |(key, record)| match record {
            Some(Record { value, stamp }) => Change { key, value: Some(value), stamp },
            None => {
                let stamp = Stamp { version, ..Stamp::default() };
                Change { key, value: None, stamp }
            }
        })
    }
}
