//! Payloads of collections: what is read comes out as it went in, and neither a server nor a client
//! that is given it falls over. The first byte says what the payload is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_core::state::wire::{
    read_change, read_load, read_loaded, read_mutate, read_verdicts, write_change, write_load,
    write_loaded, write_mutate, write_verdicts,
};
use tidings_core::state::{Collection, Limits, Policy, Store, StoreConfig};

/// Small, so that limits are reached.
fn limits() -> Limits {
    Limits {
        max_records: 4,
        max_record_bytes: 200,
        max_depth: 8,
        max_deletions: 1,
        max_page: 2,
        ..Limits::default()
    }
}

/// The server judges it, the client takes in what comes of it, and both have the same.
fn mutate(json: &[u8]) {
    let limits = limits();
    let Ok(asked) = read_mutate(json, &limits) else { return };
    let understood = || asked.iter().filter(|asked| asked.refused.is_none());
    if let Some(client) = understood().find_map(|asked| asked.mutation.id.as_ref()) {
        let written = write_mutate(&client.client, understood().map(|asked| &asked.mutation));
        let read = read_mutate(&written, &limits).unwrap();
        assert!(read.iter().eq(understood()));
    }
    let mut collection = Collection::new(Policy::Merge, limits, 1);
    let mut store = Store::new(StoreConfig::new("fuzz"));
    let mut next = Some(store.begin_load(2));
    while let Some(load) = next {
        next = store.loaded(&load, collection.load(&load));
    }
    for asked in asked {
        let seq = asked.mutation.id.as_ref().map(|id| id.seq);
        let judged = collection.mutate(2, asked);
        let verdicts = write_verdicts([(seq, &*judged.verdict)]);
        if let Some(seq) = seq {
            assert_eq!(read_verdicts(&verdicts), Ok(vec![(seq, (*judged.verdict).clone())]));
        }
        for change in judged.changes {
            assert_eq!(read_change(&write_change(&change)).as_ref(), Ok(&change));
            store.confirm(change);
        }
    }
    let records = collection.iter().map(|(key, record)| (key, &record.value));
    assert!(records.eq(store.iter()), "the client shows something else");
}

/// A client takes whatever a server says.
fn loaded(json: &[u8]) {
    let Ok(loaded) = read_loaded(json) else { return };
    if let Ok(policy) = loaded.policy.parse::<Policy>() {
        assert_eq!(read_loaded(&write_loaded(&policy, &loaded.page)).as_ref(), Ok(&loaded));
    }
    let mut store = Store::new(StoreConfig::new("fuzz"));
    let load = store.begin_load(2);
    store.loaded(&load, loaded.page);
    store.iter().count();
}

fuzz_target!(|data: &[u8]| {
    let Some((what, json)) = data.split_first() else { return };
    match what {
        b'm' => mutate(json),
        b'l' => {
            let Ok(load) = read_load(json) else { return };
            // Without a limit of its own it has the largest there is, which is not written.
            assert_eq!(read_load(&write_load(&load)), Ok(load));
        }
        b'p' => loaded(json),
        b'v' => {
            let Ok(verdicts) = read_verdicts(json) else { return };
            let written = verdicts.iter().map(|(seq, verdict)| (Some(*seq), verdict));
            assert_eq!(read_verdicts(&write_verdicts(written)).as_ref(), Ok(&verdicts));
            let mut store = Store::new(StoreConfig::new("fuzz"));
            store.answer(verdicts);
        }
        _ => {
            let Ok(change) = read_change(json) else { return };
            assert_eq!(read_change(&write_change(&change)), Ok(change));
        }
    }
});
