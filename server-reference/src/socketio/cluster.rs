//! The same namespaces on several instances: what one emits reaches the sockets of all.
//!
//! Instances tell each other over the backplane, each message at most once: what has to arrive
//! belongs on the bus.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_core::base64;
use tidings_core::socketio::{Args, Namespace as Path};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::broadcast::Flags;
use super::namespaces::Namespaces;
use super::table::Target;
use crate::backplane::Backplane;

/// How many messages of other instances may wait; what comes while they do is lost.
const MAX_WAITING: usize = 4096;

/// The way to the other instances.
pub(crate) struct Cluster {
    instance: String,
    backplane: Arc<dyn Backplane>,
    /// Where what other instances tell is done.
    runtime: Option<Handle>,
    listens: AtomicBool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// What an instance tells the others.
#[derive(Debug, Serialize, Deserialize)]
struct Message {
    from: String,
    namespace: String,
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum What {
    /// An event for sockets.
    Emit { target: Target, event: Written, volatile: bool },
    /// Sockets are to be in these rooms.
    Join { target: Target, rooms: Vec<Arc<str>> },
    /// Sockets are not to be in these rooms any more.
    Leave { target: Target, rooms: Vec<Arc<str>> },
    /// Sockets are to be disconnected.
    Disconnect { target: Target, close: bool },
    /// An event for the instances themselves.
    ServerSide { event: Written },
}

/// Arguments of an event, the name first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Written {
    args: Vec<Box<RawValue>>,
    /// In base64.
    attachments: Vec<String>,
}

impl Written {
    /// `None` if they are not JSON, which they always are.
    pub(super) fn new(args: &Args) -> Option<Self> {
        let raw = |index| {
            let json = std::str::from_utf8(args.json(index)?).ok()?;
            RawValue::from_string(json.to_owned()).ok()
        };
        let attachments = args.attachments().iter().map(|data| {
            let mut text = Vec::new();
            base64::encode(data, &mut text);
            text.into_iter().map(char::from).collect()
        });
        let args = (0..args.len()).map(raw).collect::<Option<_>>()?;
        Some(Self { args, attachments: attachments.collect() })
    }

    fn read(&self) -> Option<Args> {
        let mut args = Args::new();
        for json in &self.args {
            args.push_json(Bytes::copy_from_slice(json.get().as_bytes()));
        }
        for data in &self.attachments {
            args.push_attachment(base64::decode(data.as_bytes())?.into());
        }
        Some(args)
    }
}

impl Cluster {
    pub(crate) fn new(instance: String, backplane: Arc<dyn Backplane>) -> Arc<Self> {
        let (runtime, listens) = (Handle::try_current().ok(), AtomicBool::new(false));
        Arc::new(Self { instance, backplane, runtime, listens })
    }

    /// Tells the other instances, if there can be any. `what` is made only then.
    pub(super) fn tell(&self, namespace: &str, what: impl FnOnce() -> Option<What>) {
        if !self.backplane.has_others() {
            return;
        }
        let message = what().map(|what| Message {
            from: self.instance.clone(),
            namespace: namespace.to_owned(),
            what,
        });
        match message.map(|message| serde_json::to_vec(&message)) {
            Some(Ok(message)) => self.backplane.tell_others(message.into()),
            Some(Err(error)) => tracing::error!(%error, "an event was not told to other instances"),
            None => {}
        }
    }

    /// Does what other instances tell, for as long as `namespaces` are there. The first call counts.
    pub(super) fn listen(&self, namespaces: &Arc<Namespaces>) {
        let Some(runtime) = &self.runtime else { return };
        if self.listens.swap(true, Ordering::AcqRel) {
            return;
        }
        let (sender, mut told) = mpsc::channel::<Bytes>(MAX_WAITING);
        self.backplane.hear_others(sender);
        let instance = self.instance.clone();
        let namespaces: Weak<Namespaces> = Arc::downgrade(namespaces);
        runtime.spawn(async move {
            while let Some(message) = told.recv().await {
                let Some(namespaces) = namespaces.upgrade() else { return };
                match serde_json::from_slice::<Message>(&message) {
                    Ok(message) if message.from == instance => {}
                    Ok(message) => obey(&namespaces, message),
                    Err(error) => tracing::warn!(%error, "another instance told what is unknown"),
                }
            }
        });
    }
}

/// Does what another instance has told. A namespace that is not here has no sockets here.
fn obey(namespaces: &Namespaces, message: Message) {
    let Some(path) = Path::new(&message.namespace) else { return };
    let Some(namespace) = namespaces.known(&path) else { return };
    match message.what {
        What::Emit { target, event, volatile } => {
            if let Some(args) = event.read() {
                namespace.broadcast_here(&target, args, Flags { volatile, local: true });
            }
        }
        What::Join { target, rooms } => namespace.join_here(&target, &rooms),
        What::Leave { target, rooms } => namespace.leave_here(&target, &rooms),
        What::Disconnect { target, close } => namespace.disconnect_here(&target, close),
        What::ServerSide { event } => {
            if let Some(args) = event.read() {
                namespace.server_side(args);
            }
        }
    }
}
