//! Equal loads of a collection that instances share: the store is asked once for all who wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_core::message::Refusal;
use tidings_core::state::{Load, Page, Version};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::shared::{Host, unavailable};

/// Time between the beginnings of two fetches of the same page: clients that come back together do
/// not come all at once.
const PACE: Duration = Duration::from_millis(10);

/// For how many clients one fetch is at most.
const MOST: usize = 1024;

/// What is loaded: after a version, since one, and how many records.
type Wanted = (Version, Version, usize);

/// Somebody who waits for a page.
struct Waiting {
    client: Option<Arc<str>>,
    page: oneshot::Sender<Result<Page, Refusal>>,
}

/// Loads on their way.
///
/// A load is answered by a fetch that begins after it has come: one that is under way may have
/// missed what its client, whose subscription is newer, has to find in it.
pub(super) struct Loads {
    host: Host,
    /// Who waits for the next fetch of a page that is being fetched, or was a moment ago.
    waiting: Mutex<BTreeMap<Wanted, Vec<Waiting>>>,
}

impl Loads {
    pub(super) fn new(host: Host) -> Self {
        Self { host, waiting: Mutex::default() }
    }

    pub(super) async fn load(self: &Arc<Self>, load: &Load) -> Result<Page, Refusal> {
        let most = self.host.rules.limits.max_page.max(1);
        let wanted = (load.after, load.began, load.limit.clamp(1, most));
        let (page, fetched) = oneshot::channel();
        let mut is_first = false;
        self.waiting
            .lock()
            .entry(wanted)
            .or_insert_with(|| {
                is_first = true;
                Vec::new()
            })
            .push(Waiting { client: load.client.clone(), page });
        if is_first {
            // A task: whoever was first may go before the others are served.
            tokio::spawn(Arc::clone(self).fetch_all(wanted));
        }
        fetched.await.unwrap_or_else(|_| Err(unavailable("the server is going away")))
    }

    /// Fetches the page until nobody waits for it any more.
    async fn fetch_all(self: Arc<Self>, wanted: Wanted) {
        while let Some(waiting) = self.next(wanted) {
            let pause = Instant::now() + PACE;
            self.fetch(wanted, waiting).await;
            tokio::time::sleep_until(pause).await;
        }
    }

    /// Those for whom the next fetch is; if nobody is there whoever comes next is the first.
    fn next(&self, wanted: Wanted) -> Option<Vec<Waiting>> {
        let mut all = self.waiting.lock();
        let waiting = all.get_mut(&wanted)?;
        if waiting.is_empty() {
            all.remove(&wanted);
            return None;
        }
        let most = waiting.len().min(MOST);
        Some(waiting.drain(..most).collect())
    }

    async fn fetch(&self, (after, began, limit): Wanted, waiting: Vec<Waiting>) {
        let load = Load { after, began, limit, client: None };
        let clients: Vec<_> = waiting.iter().filter_map(|w| w.client.clone()).collect();
        let fetched = self.host.store.load(self.host.hosting(), &load, &clients).await;
        let (page, judged) = match fetched {
            Ok((page, judged)) => (Ok(page), judged),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        let mut judged = judged.into_iter();
        for Waiting { client, page: answer } in waiting {
            let judged = client.and_then(|_| judged.next()).unwrap_or_default();
            // Whoever does not wait for it any more has gone.
            let _ = answer.send(page.clone().map(|page| Page { judged, ..page }));
        }
    }
}
