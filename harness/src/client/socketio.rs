//! The SDK's Socket.IO client, as applications use it that know nothing of Tidings: events in
//! rooms of a namespace, no recovery, no places in a log.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use tidings::socketio::{Manager, Socket, Transport};
use tidings_core::Priority;

use super::{ClientError, Ears, LoadClient, Place, Target};
use crate::population::Wire;
use crate::process::APPLICATION;

/// One client.
struct SocketIo {
    manager: Manager,
    socket: Socket,
    rooms: Arc<Mutex<Vec<String>>>,
}

/// Connects.
pub(super) async fn connect(
    target: Target,
    ears: Ears,
) -> Result<Arc<dyn LoadClient>, ClientError> {
    if target.wire != Wire::SocketIo {
        return Err(ClientError("Socket.IO applications speak socketio alone".to_owned()));
    }
    let manager = Manager::builder(target.url).transports([Transport::WebSocket]).build();
    let manager = manager.map_err(failed)?;
    let socket = manager.socket(APPLICATION).map_err(failed)?;
    let rooms = Arc::<Mutex<Vec<String>>>::default();
    let (up, down) = (ears.clone(), ears.clone());
    let (again, rejoining) = (socket.clone(), rooms.clone());
    // Listeners stay as long as the socket.
    let _ = socket.on_connect(move |_, _| {
        up.up();
        for room in &*rejoining.lock().unwrap_or_else(PoisonError::into_inner) {
            // A failure shows as lost events.
            let _ = again.emit("join", (room,));
        }
    });
    let _ = socket.on_disconnect(move |_, _| down.down());
    let _ = socket.on_any(move |event| match event.args.json(0) {
        Some(payload) => ears.event(None, payload),
        None => ears.event(None, b""),
    });
    socket.connected().await.map_err(failed)?;
    Ok(Arc::new(SocketIo { manager, socket, rooms }))
}

fn failed(error: impl std::error::Error) -> ClientError {
    ClientError(error.to_string())
}

impl LoadClient for SocketIo {
    fn subscribe(&self, _number: u16, pattern: String) -> BoxFuture<'_, Result<(), ClientError>> {
        async move {
            self.socket.emit_with_ack("join", (&pattern,)).await.map_err(failed)?;
            self.rooms.lock().unwrap_or_else(PoisonError::into_inner).push(pattern);
            Ok(())
        }
        .boxed()
    }

    fn publish(
        &self,
        name: Arc<str>,
        payload: Bytes,
        _priority: Priority,
    ) -> BoxFuture<'static, Result<Option<Place>, ClientError>> {
        let publishing = match serde_json::from_slice::<&RawValue>(&payload) {
            Ok(payload) => self.socket.emit_with_ack("publish", (&*name, payload)),
            Err(error) => return std::future::ready(Err(failed(error))).boxed(),
        };
        let publishing = std::future::IntoFuture::into_future(publishing);
        publishing.map(|answer| answer.map(|_| None).map_err(failed)).boxed()
    }

    fn switch(&self, _wire: Wire) -> BoxFuture<'_, Result<(), ClientError>> {
        let error = ClientError("Socket.IO applications speak socketio alone".to_owned());
        std::future::ready(Err(error)).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.manager.close().boxed()
    }
}
