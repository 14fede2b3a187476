//! Steps about clients and their connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tidings::socketio::Transport as Carrier;
use tidings::{Client, ClientBuilder, Encoding, State, Stats, Transport};

use super::events::Published;
use super::step::{Connect, Format, Kind, Overflow};
use super::{Outcome, World, collection, failed, same, until};
use crate::network::Proxy;

/// Somebody with a client, and a network of its own.
pub(super) struct Person {
    pub(super) client: Client,
    pub(super) cable: Proxy,
    pub(super) published: Vec<Published>,
    pub(super) collections: BTreeMap<String, Opened>,
}

/// A collection, and the conflicts that were told of it.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) collection: collection::Collection<Value>,
    pub(super) conflicts: Arc<Mutex<Vec<collection::Conflict>>>,
}

fn by(builder: ClientBuilder, by: &str) -> Outcome<ClientBuilder> {
    match by {
        "ws" => Ok(builder.transport(Transport::Ws)),
        "socketio" => Ok(builder.transport(Transport::SocketIo)),
        "polling" => {
            Ok(builder.transport(Transport::SocketIo).socketio_transports([Carrier::Polling]))
        }
        other => Err(format!("nobody knows the transport {other}").into()),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Connecting => "connecting",
        State::Connected => "connected",
        State::Reconnecting => "reconnecting",
        State::Closed => "closed",
    }
}

fn count(stats: &Stats, name: &str) -> Outcome<u64> {
    let counters = &stats.counters;
    Ok(match name {
        "events" => counters.events,
        "recovered" => counters.recovered,
        "duplicates" => counters.duplicates,
        "gaps" => counters.gaps,
        "connects" => counters.connects,
        "reconnects" => counters.reconnects,
        "switches" => counters.switches,
        "published" => counters.published,
        "publishFailures" => counters.publish_failures,
        "subscriptions" => stats.subscriptions as u64,
        other => return Err(format!("nobody counts {other}").into()),
    })
}

impl World<'_> {
    pub(super) async fn connect(&mut self, connect: Connect) -> Outcome {
        let address = self.server.url().trim_start_matches("http://").parse()?;
        let cable = Proxy::to(address).await;
        let mut builder = by(Client::builder(&cable.url), &self.by)?
            .backoff(Duration::from_millis(5), Duration::from_millis(50));
        if connect.format == Format::Msgpack {
            builder = builder.encoding(Encoding::Msgpack);
        }
        if let Some(events) = connect.queue.max_events {
            builder = builder.queue_events(events);
        }
        if let Some(buffer) = connect.buffer {
            let overflow = match buffer.overflow {
                Overflow::DropOldest => tidings::Overflow::DropOldest,
                Overflow::Pause => tidings::Overflow::Pause,
            };
            builder = builder.buffer(buffer.max_events, overflow);
        }
        let client = builder.build()?;
        let (published, collections) = (Vec::new(), BTreeMap::new());
        let person = Person { client: client.clone(), cable, published, collections };
        self.people.insert(connect.client, person);
        if connect.wait {
            client.connected().await?;
        }
        Ok(())
    }

    pub(super) async fn status(&mut self, name: &str, is: &str) -> Outcome {
        let client = self.client(name)?;
        until(
            || word(client.status().state) == is,
            || format!("the client is {:?}", client.status()),
        )
        .await
    }

    pub(super) async fn stats(
        &mut self,
        name: &str,
        is: &BTreeMap<String, u64>,
        at_least: &BTreeMap<String, u64>,
    ) -> Outcome {
        let stats = self.client(name)?.stats().await;
        for (name, expected) in is {
            same(&count(&stats, name)?, expected, name)?;
        }
        for (name, least) in at_least {
            let is = count(&stats, name)?;
            if is < *least {
                return Err(format!("{name}: {is}, not at least {least}").into());
            }
        }
        Ok(())
    }

    pub(super) async fn switch(&mut self, name: &str, to: Kind, fails: Option<String>) -> Outcome {
        let client = self.client(name)?;
        let to = match to {
            Kind::Ws => Transport::Ws,
            Kind::Socketio => Transport::SocketIo,
        };
        let switched = client.switch_transport(to).await;
        if let Some(code) = fails {
            let failure = switched.map_err(|error| match &error {
                tidings::error::SwitchError::Closed(_) => (error.to_string(), "closed"),
                _ => (error.to_string(), "switch-failed"),
            });
            return failed(failure, &code);
        }
        same(&switched?, &to, "the transport")?;
        same(&client.status().transport, &Some(to), "the transport by the status")
    }
}
