//! Moving a session from polling to a WebSocket.
//!
//! The WebSocket is tried with a ping. When its pong has come no request is begun any more; the
//! server ends the one that waits; and when none is under way the session moves. Until then
//! nothing is lost if the WebSocket fails.

use bytes::Bytes;

use crate::engineio::request::Carrier;
use crate::io::{Io, IoId};
use crate::message::{Close, CloseCode, Frame};
use crate::time::Time;

use super::{ClientTransport, Stage, TransportOutput};

/// A WebSocket that is tried.
#[derive(Debug)]
pub(super) struct Probe {
    id: IoId,
    stage: ProbeStage,
    pub(super) deadline: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbeStage {
    Opening,
    Asked,
    Works,
}

impl Probe {
    /// Whether the pong has come.
    pub(super) fn works(&self) -> bool {
        self.stage == ProbeStage::Works
    }
}

impl super::polling::Polls {
    /// The WebSocket is open: what to send on it, if it is the one that is tried.
    pub(super) fn probe_opened(&mut self, id: IoId) -> Option<Frame> {
        let probe = self.probe.as_mut()?;
        if probe.id != id || probe.stage != ProbeStage::Opening {
            return None;
        }
        probe.stage = ProbeStage::Asked;
        Some(Frame::Text(Bytes::from_static(b"2probe")))
    }
}

impl ClientTransport {
    /// Tries a WebSocket, if client and server have one.
    pub(super) fn begin_probe(&mut self, now: Time) {
        let wanted = self.config.upgrade && self.config.transports.contains(&Carrier::WebSocket);
        let Some(handshake) = self.handshake.as_ref().filter(|_| wanted) else { return };
        if !handshake.upgrades.iter().any(|name| name == Carrier::WebSocket.name()) {
            return;
        }
        let url = self.config.url(Carrier::WebSocket, Some(&handshake.sid), &mut self.rng);
        let Stage::Polling(polls) = &mut self.stage else { return };
        let Some(id) = self.ids.next() else { return };
        let deadline = now + self.config.attempt_timeout;
        polls.probe = Some(Probe { id, stage: ProbeStage::Opening, deadline });
        let headers = self.config.headers.clone();
        let open = Io::OpenWs { id, url, subprotocol: None, headers };
        self.outputs.push_back(TransportOutput::Io(open));
    }

    /// A packet has come on a WebSocket while polling carries the session.
    pub(super) fn probe_answered(&mut self, id: IoId, frame: &Frame) {
        let Stage::Polling(polls) = &mut self.stage else { return };
        let Some(probe) = polls.probe.as_mut().filter(|probe| probe.id == id) else { return };
        match frame {
            Frame::Text(text) if text == "3probe" && probe.stage == ProbeStage::Asked => {
                probe.stage = ProbeStage::Works;
                self.try_to_move();
            }
            _ => {
                let close =
                    Close::new(CloseCode::BAD_FRAME, "the probe was not answered by a pong");
                self.probe_failed(&close);
            }
        }
    }

    /// Moves, if the WebSocket works and no request is under way.
    pub(super) fn try_to_move(&mut self) {
        let Stage::Polling(polls) = &self.stage else { return };
        let Some(probe) = polls.probe.as_ref().filter(|probe| probe.works()) else { return };
        if polls.get.is_none() && polls.post.is_none() {
            let id = probe.id;
            self.stage = Stage::WebSocket { id, writable: true };
            let frame = Frame::Text(Bytes::from_static(b"5"));
            self.outputs.push_back(TransportOutput::Io(Io::SendWs { id, frame }));
            self.outputs.push_back(TransportOutput::Upgraded);
            self.flush();
        }
    }

    /// The WebSocket that is tried has ended.
    pub(super) fn probe_closed(&mut self, id: IoId, close: Close) {
        let Stage::Polling(polls) = &mut self.stage else { return };
        if polls.probe.take_if(|probe| probe.id == id).is_some() {
            self.outputs.push_back(TransportOutput::UpgradeFailed(close));
            self.poll();
        }
    }

    /// The WebSocket that is tried is of no use.
    pub(super) fn probe_failed(&mut self, close: &Close) {
        self.drop_probe(close);
        self.outputs.push_back(TransportOutput::UpgradeFailed(close.clone()));
        self.poll();
    }

    pub(super) fn drop_probe(&mut self, close: &Close) {
        let Stage::Polling(polls) = &mut self.stage else { return };
        if let Some(Probe { id, .. }) = polls.probe.take() {
            let io = Io::CloseWs { id, close: close.clone() };
            self.outputs.push_back(TransportOutput::Io(io));
        }
    }
}
