//! What one address may take: connections, and attempts to guess a token.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_core::Time;

use crate::config::Limits;
use crate::rate::Bucket;

/// With how many entries those that say nothing any more are looked for the first time.
const SWEEP: usize = 1024;

/// What each address has taken. One that has nothing open and did nothing wrong lately is not in it.
#[derive(Debug)]
pub(crate) struct Addresses {
    max: usize,
    open_rate: u32,
    open_burst: u32,
    guess_rate: u32,
    guess_burst: u32,
    read_rate: u32,
    read_burst: u32,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    entries: HashMap<IpAddr, Entry>,
    sweep_at: usize,
    refused: Refused,
}

/// How many connections were turned away since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// As their address had too many.
    pub(crate) by_number: u64,
    /// As their address opened too many at once.
    pub(crate) by_rate: u64,
}

/// What of an address there is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// Open connections.
    Number,
    /// New connections per second.
    Rate,
}

#[derive(Debug, Default)]
struct Entry {
    open: usize,
    /// How many it may still open at once; full without.
    opens: Option<Bucket>,
    /// How often it may still be wrong; full without.
    guesses: Option<Bucket>,
    /// How often it may still read history; full without.
    reads: Option<Bucket>,
}

impl Entry {
    /// Whether there is nothing to be remembered.
    fn is_over(&self) -> bool {
        let buckets = [&self.opens, &self.guesses, &self.reads];
        self.open == 0 && buckets.iter().all(|bucket| bucket.is_none())
    }
}

impl Addresses {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            max: limits.connections_per_address,
            open_rate: limits.connection_rate_per_address,
            open_burst: limits.connection_burst_per_address,
            guess_rate: limits.wrong_tokens_rate,
            guess_burst: limits.wrong_tokens_burst,
            read_rate: limits.history_rate,
            read_burst: limits.history_burst,
            table: Mutex::new(Table {
                entries: HashMap::new(),
                sweep_at: SWEEP,
                refused: Refused::default(),
            }),
        })
    }

    /// How many connections were turned away since the start.
    pub(crate) fn refused(&self) -> Refused {
        self.table.lock().refused
    }

    /// Lets one more connection of this address in, unless it has too many, or opens too many.
    pub(crate) fn admit(
        self: &Arc<Self>,
        now: Time,
        address: IpAddr,
    ) -> Result<AddressPermit, Crowd> {
        let address = network_of(address);
        let mut table = self.table.lock();
        let entry = table.entry(now, address);
        let full = || Bucket::new(self.open_rate, self.open_burst, now);
        if self.open_rate > 0 && !entry.opens.get_or_insert_with(full).take(now) {
            table.refused.by_rate += 1;
            return Err(Crowd::Rate);
        }
        if self.max > 0 && entry.open >= self.max {
            table.refused.by_number += 1;
            return Err(Crowd::Number);
        }
        entry.open += 1;
        Ok(AddressPermit { addresses: Arc::clone(self), address })
    }

    /// Whether somebody there may read history now; it counts.
    pub(crate) fn read(&self, now: Time, address: IpAddr) -> bool {
        let mut table = self.table.lock();
        let entry = table.entry(now, network_of(address));
        let full = || Bucket::new(self.read_rate, self.read_burst, now);
        entry.reads.get_or_insert_with(full).take(now)
    }

    /// Whether a token from there is looked at: not while too many were wrong.
    pub(crate) fn may_present(&self, now: Time, address: IpAddr) -> bool {
        let mut table = self.table.lock();
        let guesses = table.entries.get_mut(&network_of(address)).and_then(|e| e.guesses.as_mut());
        guesses.is_none_or(|bucket| bucket.has(now))
    }

    /// A token from there was wrong.
    pub(crate) fn presented_wrong(&self, now: Time, address: IpAddr) {
        let mut table = self.table.lock();
        let entry = table.entry(now, network_of(address));
        let full = || Bucket::new(self.guess_rate, self.guess_burst, now);
        entry.guesses.get_or_insert_with(full).take(now);
    }

    fn leave(&self, address: IpAddr) {
        let mut table = self.table.lock();
        if let Some(entry) = table.entries.get_mut(&address) {
            entry.open -= 1;
            if entry.is_over() {
                table.entries.remove(&address);
            }
        }
    }
}

impl Table {
    fn entry(&mut self, now: Time, address: IpAddr) -> &mut Entry {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, entry| {
                for bucket in [&mut entry.guesses, &mut entry.opens, &mut entry.reads] {
                    bucket.take_if(|bucket| bucket.is_full(now));
                }
                !entry.is_over()
            });
            self.sweep_at = (self.entries.len() * 2).max(SWEEP);
        }
        self.entries.entry(address).or_default()
    }
}

/// Whose address it is: who has one of IPv6 has the 2^64 beside it, too (RFC 6177).
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// Room for one connection of an address, given back when dropped.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        self.addresses.leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_start(Duration::from_secs(seconds))
    }

    fn addresses() -> Arc<Addresses> {
        Addresses::new(&Limits {
            connections_per_address: 2,
            connection_rate_per_address: 0,
            wrong_tokens_rate: 1,
            wrong_tokens_burst: 3,
            ..Limits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_address_has_its_own_room_and_gets_it_back() {
        let addresses = addresses();
        let mut held: Vec<_> =
            (0..2).map(|_| addresses.admit(at(0), ip("10.0.0.1")).expect("room")).collect();
        assert_eq!(addresses.admit(at(0), ip("10.0.0.1")).err(), Some(Crowd::Number));
        assert!(addresses.admit(at(0), ip("::ffff:10.0.0.1")).is_err(), "the same one");
        let _other = addresses.admit(at(0), ip("10.0.0.2")).expect("room of its own");
        assert_eq!(addresses.refused(), Refused { by_number: 2, by_rate: 0 });
        held.pop();
        held.push(addresses.admit(at(0), ip("10.0.0.1")).expect("room again"));
        drop(held);
        assert_eq!(addresses.table.lock().entries.len(), 1, "who has gone is forgotten");
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let addresses = addresses();
        let _held = ["2001:db8::1", "2001:db8::ffff:1"]
            .map(|text| addresses.admit(at(0), ip(text)).expect("room"));
        assert!(addresses.admit(at(0), ip("2001:db8:0:0:1::")).is_err());
        assert!(addresses.admit(at(0), ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn who_opens_one_after_the_other_has_to_wait_and_is_forgotten_then() {
        let limits = Limits {
            connection_rate_per_address: 1,
            connection_burst_per_address: 3,
            ..Limits::default()
        };
        let addresses = Addresses::new(&limits);
        let opened = |now| addresses.admit(at(now), ip("10.0.0.1")).map(drop);
        assert!((0..3).all(|_| opened(0).is_ok()));
        assert_eq!(opened(0), Err(Crowd::Rate));
        assert!(addresses.admit(at(0), ip("10.0.0.2")).is_ok(), "another one");
        assert_eq!((opened(1), opened(1)), (Ok(()), Err(Crowd::Rate)));
        assert_eq!(addresses.refused(), Refused { by_number: 0, by_rate: 2 });
        for n in 0..=SWEEP as u32 {
            drop(addresses.admit(at(60), IpAddr::V4((0x0a01_0000 + n).into())));
        }
        assert!(!addresses.table.lock().entries.contains_key(&ip("10.0.0.1")));
    }

    #[test]
    fn who_guesses_is_not_listened_to_for_a_while_and_forgotten_then() {
        let addresses = addresses();
        let (guesser, other) = (ip("10.0.0.1"), ip("10.0.0.2"));
        for _ in 0..3 {
            assert!(addresses.may_present(at(0), guesser));
            addresses.presented_wrong(at(0), guesser);
        }
        assert!(!addresses.may_present(at(0), guesser));
        assert!(addresses.may_present(at(0), other));
        assert!(addresses.may_present(at(1), guesser));
        addresses.presented_wrong(at(1), guesser);
        assert!(!addresses.may_present(at(1), guesser));
        for n in 0..2 * SWEEP as u32 {
            addresses.presented_wrong(at(2), IpAddr::V4((0x0a01_0000 + n).into()));
        }
        assert!(addresses.table.lock().entries.len() > SWEEP);
        for n in 0..2 * SWEEP as u32 {
            addresses.presented_wrong(at(60), IpAddr::V4((0x0a02_0000 + n).into()));
        }
        let (table, first) = (addresses.table.lock(), IpAddr::V4(0x0a01_0000.into()));
        assert!(!table.entries.contains_key(&guesser) && !table.entries.contains_key(&first));
    }
}
