//! What carries connections: a WebSocket of its own, or whatever Engine.IO can use.

use std::time::Duration;

use crate::engineio::{Carrier, ClientTransport, TransportConfig, TransportOutput};
use crate::io::{HttpHeaders, Io, IoEvent, IoId};
use crate::message::Close;
use crate::time::Time;

use super::Transport;
use super::config::ClientConfig;
use super::connection::Connection;
use super::io::Output;
use super::machine::ClientMachine;

/// How Socket.IO is carried.
pub(super) fn transport(config: &ClientConfig) -> TransportConfig {
    let share = u32::try_from(config.carriers.len()).unwrap_or(u32::MAX).max(1);
    TransportConfig {
        transports: config.carriers.clone(),
        try_all_transports: true,
        attempt_timeout: config.connect_timeout.checked_div(share).unwrap_or(Duration::ZERO),
        max_body: config.link.max_frame,
        ..TransportConfig::new(config.endpoint.clone())
    }
}

impl ClientMachine {
    /// Begins to open a connection; what will carry it, if that is not just a WebSocket.
    pub(super) fn open(
        &mut self,
        now: Time,
        io: IoId,
        transport: Transport,
    ) -> Option<Box<ClientTransport>> {
        if transport == Transport::SocketIo {
            let (config, number) = (self.transport.clone(), io.connection());
            let seed = self.rng.next_u64();
            let engine = ClientTransport::open(config, number, self.last_carrier, seed, now);
            return Some(Box::new(engine));
        }
        self.outputs.push_back(Output::Io(Io::OpenWs {
            id: io,
            url: self.config.endpoint.url(transport),
            subprotocol: Some(self.config.encoding.subprotocol()),
            headers: HttpHeaders::default(),
        }));
        None
    }

    /// Something has happened on the network.
    pub(super) fn io_event(&mut self, now: Time, event: IoEvent) {
        let io = IoId::first(event.id().connection());
        let Some(connection) = self.connection(io) else {
            // Those that are leaving take only what is theirs.
            for engine in &mut self.leaving {
                engine.handle_input(now, event.clone());
            }
            return;
        };
        if let Some(engine) = &mut connection.engine {
            engine.handle_input(now, event);
            return self.carry(now, io);
        }
        match event {
            IoEvent::WsFrame { frame, .. } => self.frame(now, io, frame),
            IoEvent::Writable { writable, .. } => connection.writable = writable,
            IoEvent::WsOpened { subprotocol, .. } => self.opened(now, io, subprotocol),
            IoEvent::WsClosed { close, .. } => self.lost(now, io, close),
            IoEvent::Http { .. } => {}
        }
    }

    /// Takes what carries a connection has for it.
    fn carry(&mut self, now: Time, io: IoId) {
        while let Some(output) = self
            .connection(io)
            .and_then(|connection| connection.engine.as_mut())
            .and_then(|engine| engine.poll_output())
        {
            match output {
                TransportOutput::Io(io) => self.outputs.push_back(Output::Io(io)),
                TransportOutput::Frame(frame) => self.frame(now, io, frame),
                TransportOutput::Opened(carrier) => {
                    self.last_carrier = Some(carrier);
                    self.opened(now, io, None);
                }
                TransportOutput::Upgraded => self.last_carrier = Some(Carrier::WebSocket),
                TransportOutput::UpgradeFailed(_) => {}
                TransportOutput::Closed { close, .. } => self.lost(now, io, close),
            }
        }
    }

    /// Does the same for all connections, and for those that are leaving.
    pub(super) fn carry_all(&mut self, now: Time) {
        let carried = [&self.primary, &self.candidate, &self.previous]
            .map(|connection| connection.as_ref().filter(|c| c.engine.is_some()).map(|c| c.io));
        for io in carried.into_iter().flatten() {
            self.carry(now, io);
        }
        for engine in &mut self.leaving {
            while let Some(output) = engine.poll_output() {
                if let TransportOutput::Io(io) = output {
                    self.outputs.push_back(Output::Io(io));
                }
            }
        }
        self.leaving.retain(|engine| !engine.is_over());
    }

    /// Ends what carries a connection at once, because of what came or did not come on it.
    pub(super) fn abort(&mut self, io: IoId, close: &Close) {
        let Some(connection) = self.connection(io).filter(|connection| connection.is_open()) else {
            return;
        };
        match connection.engine.take() {
            Some(mut engine) => {
                engine.abort(close);
                self.leaving.push(*engine);
            }
            None => {
                let close = close.clone();
                self.outputs.push_back(Output::Io(Io::CloseWs { id: io, close }));
            }
        }
    }

    /// Closes what carries a connection after what was sent on it.
    pub(super) fn close_io(&mut self, now: Time, connection: Connection, close: &Close) {
        if !connection.is_open() {
            return;
        }
        match connection.engine {
            Some(mut engine) => {
                engine.close(now, close);
                self.leaving.push(*engine);
                self.carry_all(now);
            }
            None => {
                let (id, close) = (connection.io, close.clone());
                self.outputs.push_back(Output::Io(Io::CloseWs { id, close }));
            }
        }
    }

    pub(super) fn expire_carrier(&mut self, now: Time, io: IoId) {
        if let Some(engine) = self.connection(io).and_then(|connection| connection.engine.as_mut())
        {
            engine.handle_timeout(now);
            self.carry(now, io);
        }
    }

    pub(super) fn expire_leaving(&mut self, now: Time) {
        for engine in &mut self.leaving {
            engine.handle_timeout(now);
        }
    }
}
