//! What goes wrong between the servers and the Redis.

use std::time::Duration;

use crate::log::CutOff;
use crate::redis::Shard;
use crate::traffic::Traffic;
use crate::world::{Happening, World};

/// Something that goes wrong between servers and a partition's nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The master dies; its replica takes over.
    Crash { notice: Duration, down: Duration },
    /// The master is alone, and does not know that its replica has taken over.
    Isolate { notice: Duration, down: Duration },
    /// The replica dies for a while.
    ReplicaDown { down: Duration },
    /// The replica gets nothing for a while.
    Lag { lasts: Duration },
    /// The slot moves to other nodes.
    Move { lasts: Duration },
    /// Everything is lost on all nodes: they were started again, or somebody has emptied them.
    Forget { restarts: bool },
    /// A server does not reach the nodes for a while.
    Block { server: usize, lasts: Duration },
    /// A server loses its subscription.
    DropSubscription { server: usize },
}

impl World {
    /// Something goes wrong, unless something is already that excludes it.
    pub(crate) fn go_wrong(&mut self, partition: usize, fault: Fault) {
        let now = self.now;
        let Some(ways) = &mut self.ways else { return };
        let master = ways.redis.shards[partition].master;
        let excluded = ways.busy.contains(&partition);
        if self.told {
            println!("{now:?} in p{partition} (excluded {excluded}): {fault:?}");
        }
        let later = |world: &mut Self, after, traffic| {
            world.schedule(now + after, Happening::Redis(traffic));
        };
        match fault {
            Fault::Crash { notice, down } if !excluded => {
                ways.busy.insert(partition);
                ways.redis.replicate(now, partition);
                ways.redis.fail(partition, master);
                self.break_subscriptions(|s| s.partition == partition && s.node == master);
                later(self, notice, Traffic::TakeOver(partition));
                later(self, notice + down, Traffic::Back(partition, master));
            }
            Fault::Isolate { notice, down } if !excluded => {
                ways.busy.insert(partition);
                ways.redis.replicate(now, partition);
                ways.redis.shards[partition].cut = true;
                later(self, notice, Traffic::TakeOver(partition));
                later(self, notice + down, Traffic::Demoted(partition, master));
                later(self, notice + down, Traffic::Back(partition, master));
            }
            Fault::ReplicaDown { down } if !excluded => {
                ways.busy.insert(partition);
                ways.redis.fail(partition, Shard::replica_of(master));
                later(self, down, Traffic::Back(partition, Shard::replica_of(master)));
            }
            Fault::Lag { lasts } if !excluded => {
                ways.redis.shards[partition].lags = true;
                later(self, lasts, Traffic::CaughtUp(partition));
            }
            Fault::Move { lasts } if !excluded => {
                ways.busy.insert(partition);
                ways.redis.replicate(now, partition);
                ways.redis.shards[partition].splits = true;
                later(self, lasts / 2, Traffic::KeysMoved(partition));
                later(self, lasts, Traffic::SlotMoved(partition, master));
            }
            Fault::Forget { restarts } if !excluded => {
                ways.forgot += 1;
                ways.redis.forget(now, partition);
                if restarts {
                    self.break_subscriptions(|s| s.partition == partition);
                }
            }
            Fault::Block { server, lasts } => {
                ways.blocked.insert((server, partition));
                ways.cut_offs.push(CutOff { server, partition, from: now, to: now + lasts });
                self.break_subscriptions(|s| s.life.0 == server && s.partition == partition);
                later(self, lasts, Traffic::Reached(server, partition));
            }
            Fault::DropSubscription { server } => {
                self.break_subscriptions(|s| s.life.0 == server && s.partition == partition);
            }
            _ => {}
        }
    }
}
