//! What one client may do.

use serde::{Deserialize, Serialize};

use super::units::size;
use super::{KIB, MIB};

settings! {
    /// What one client may do; going beyond it costs the message, or the connection where said.
    Limits {
        /// How many connections may be open at once; further ones are answered with 503.
        max_connections: usize = 100_000,
        /// The largest payload of an event or request.
        #[serde(with = "size")]
        max_payload: usize = MIB,
        /// The largest WebSocket message, payload and all that goes with it; a larger one closes
        /// the connection. Binary payloads grow by a third when they travel as JSON.
        #[serde(with = "size")]
        max_frame: usize = 3 * MIB / 2,
        /// The largest header of an HTTP request; a larger one is answered with 431.
        #[serde(with = "size")]
        max_header: usize = 32 * KIB,
        /// The most bytes in the keys and values of an event's headers together.
        #[serde(with = "size")]
        max_headers: usize = 8 * KIB,
        /// The longest token.
        #[serde(with = "size")]
        max_token: usize = 16 * KIB,
        /// How deep the arrays and objects of a payload may be nested (at most 128).
        max_depth: usize = 64,
        /// How many subscriptions a session may have.
        max_subscriptions: usize = 1000,
        /// How many publishes of a connection may be unacknowledged at once.
        max_in_flight: usize = 1024,
        /// How many requests of a connection may be unanswered at once.
        max_requests: usize = 64,
        /// How many events one request may publish by REST.
        max_batch: usize = 1000,
        /// How many events a connection may publish per second, in the long run.
        publish_rate: u32 = 10_000,
        /// How many events a connection may publish at once, after a pause.
        publish_burst: u32 = 20_000,
        /// How many connections one address may have, or a /64 network of IPv6; further ones are
        /// answered with 429. Connections of proxies.trusted count for the address that they name,
        /// or not at all if they name none. 0: any number.
        connections_per_address: usize = 1000,
        /// How many connections one address may open per second, in the long run, whatever becomes
        /// of them; further ones are answered with 429, or closed where they would be encrypted.
        /// 0: any number.
        connection_rate_per_address: u32 = 200,
        /// How many connections one address may open at once, after a pause.
        connection_burst_per_address: u32 = 2000,
        /// How many wrong tokens are looked at per second from one address, in the long run.
        /// While there were more, none from there is looked at.
        wrong_tokens_rate: u32 = 1,
        /// How many wrong tokens from one address are looked at at once.
        wrong_tokens_burst: u32 = 20,
        /// How many events of the log are looked at for one page of history, or for one event by its id;
        /// a page that ends before it is full says where to go on.
        max_looked_at: usize = 50_000,
        /// How many pages of history, and events by their ids, one subject may read per second by
        /// REST, in the long run; an address where nobody has a token.
        history_rate: u32 = 20,
        /// How many of those it may read at once, after a pause.
        history_burst: u32 = 200,
        /// How many connections the tokens of one subject (claim sub) may have at an instance.
        connections_per_subject: usize = 1000,
        /// How many subscriptions those may have together.
        subscriptions_per_subject: usize = 10_000,
        /// How many requests of those may be unanswered at once.
        requests_per_subject: usize = 1000,
        /// How many events those may publish per second together, in the long run.
        publish_rate_per_subject: u32 = 20_000,
        /// How many events those may publish at once, after a pause.
        publish_burst_per_subject: u32 = 40_000,
    }
}
