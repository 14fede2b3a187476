//! What the server says.

use bytes::Bytes;

use crate::engineio::ConnectionOutput;
use crate::json::{self, Value};
use crate::message::{Advice, Close, CloseCode};
use crate::socketio::{Args, Body, DecodeError, Packet};
use crate::time::Time;

use super::io::{
    AckError, AckKey, ConnectError, DisconnectReason, ManagerNotice, ManagerOutput, SocketKey,
};
use super::socket::State;
use super::{Link, ManagerMachine};

/// What a server of another version of the protocol answers.
const NOT_V5: &str = "It seems you are trying to reach a Socket.IO server in v2.x with a v3.x \
                      client, but they are not compatible";

impl ManagerMachine {
    /// Takes what the connection has.
    pub(super) fn hear(&mut self, now: Time) {
        while let Link::There(connection) = &mut self.link {
            let Some(output) = connection.engine.poll_output() else { return };
            match output {
                ConnectionOutput::Io(io) => self.outputs.push_back(ManagerOutput::Io(io)),
                ConnectionOutput::Message(message) => match connection.decoder.receive(message) {
                    Ok(None) => {}
                    Ok(Some(packet)) => self.packet(now, packet),
                    // One argument is not acceptable: the others cannot stand in for the whole.
                    Err(DecodeError::Argument(bad)) => self.unreadable(bad.packet, &bad.reason),
                    Err(error) => {
                        connection.engine.close(now);
                        let close = Close::new(CloseCode::BAD_FRAME, error.to_string());
                        self.lost(now, DisconnectReason::ParseError, &close);
                    }
                },
                ConnectionOutput::Opened { .. } => self.opened(now),
                ConnectionOutput::Upgraded => self.upgraded(),
                ConnectionOutput::Ping | ConnectionOutput::UpgradeFailed(_) => {}
                ConnectionOutput::Closed { reason, close } => self.ended(now, reason, &close),
            }
        }
    }

    fn packet(&mut self, now: Time, packet: Packet) {
        let at = self.sockets.iter().position(|socket| socket.namespace == packet.namespace);
        let Some(key) = at.and_then(|at| u32::try_from(at).ok()).map(SocketKey) else { return };
        let Some(socket) = self.get(key) else { return };
        if matches!(packet.body, Body::Connect(_) | Body::ConnectError(_) | Body::Disconnect) {
            let asked = std::mem::replace(&mut socket.asked, false);
            if asked && !socket.is_active() && matches!(packet.body, Body::Connect(_)) {
                // The application has changed its mind in the meantime.
                return self.send_body(key, Body::Disconnect);
            }
        }
        match (packet.body, socket.state) {
            (Body::Connect(answer), State::Joining) => self.granted(now, key, answer.as_ref()),
            (Body::ConnectError(error), State::Joining) => {
                socket.state = State::Inactive;
                let error = ConnectError::refused(&error);
                self.tell(ManagerNotice::ConnectError { socket: key, error });
                self.close_if_unused(now);
            }
            (Body::Event { ack, args }, State::Connected) => self.event(key, args, ack),
            (Body::Event { ack, args }, State::Joining) => {
                if socket.early.len() >= socket.config.receive_buffer {
                    socket.early.pop_front();
                }
                socket.early.push_back((args, ack));
            }
            (Body::Ack { ack, args }, State::Connected) => self.answer(key, ack, Ok(args)),
            (Body::Disconnect, State::Connected | State::Joining) => {
                let reason = DisconnectReason::ServerDisconnect;
                self.disconnected(key, reason, String::new(), false);
                self.close_if_unused(now);
            }
            _ => {}
        }
    }

    fn granted(&mut self, now: Time, key: SocketKey, answer: Option<&Bytes>) {
        let answer = answer.and_then(|answer| json::parse(answer, json::MAX_DEPTH).ok());
        let text = |name| answer.and_then(|a| a.get(name)).and_then(Value::as_str);
        let (sid, pid) = (text("sid"), text("pid").map(|pid| pid.into_owned()));
        let Some(socket) = self.get(key) else { return };
        let Some(id) = sid.map(|sid| sid.into_owned()) else {
            socket.state = State::Inactive;
            let error = ConnectError {
                message: NOT_V5.into(),
                data: None,
                will_retry: false,
                advice: Advice::GiveUp,
            };
            self.tell(ManagerNotice::ConnectError { socket: key, error });
            return self.close_if_unused(now);
        };
        let recovered = socket.joined(pid);
        let early = std::mem::take(&mut socket.early);
        self.tell(ManagerNotice::Connected { socket: key, id, recovered });
        for (args, ack) in early {
            self.event(key, args, ack);
        }
    }

    fn event(&mut self, key: SocketKey, args: Args, ack: Option<u64>) {
        let Some(socket) = self.get(key) else { return };
        socket.received(&args);
        let ack = ack.map(|id| AckKey { socket: key, joined: socket.joined, id });
        self.tell(ManagerNotice::Event { socket: key, args, ack });
    }

    /// A packet with an argument that cannot be passed on. An event is dropped; whoever waits for
    /// an acknowledgement is told.
    fn unreadable(&mut self, packet: Packet, reason: &super::super::ArgumentError) {
        self.dropped += 1;
        let at = self.sockets.iter().position(|socket| socket.namespace == packet.namespace);
        if let (Some(at), Body::Ack { ack, .. }) = (at, packet.body) {
            let key = SocketKey(u32::try_from(at).unwrap_or(u32::MAX));
            let result = Err(AckError::Unreadable(reason.to_string()));
            self.answer(key, ack, result);
        }
    }
}
