//! Where collections are kept that all instances share.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tidings_core::message::Refusal;
use tidings_core::state::draft::{Commit, Part, Wanted};
use tidings_core::state::{Key, Load, Page, Rules, Version};

/// A step that a store makes, at once or not at all. It waits for a store that is away, and is then
/// refused with [`UNAVAILABLE`](tidings_core::message::ErrorCode::UNAVAILABLE).
pub type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// A collection as all who host it must declare it.
#[derive(Debug, Clone, Copy)]
pub struct Hosting<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its mutations are judged by.
    pub rules: &'a Rules,
    /// Who commits: unique, and with one commit on its way at a time.
    pub committer: &'a str,
}

/// Keeps collections for all instances. It decides nothing: instances judge, by the core's rules,
/// and ask for what comes of it.
pub trait CollectionStore: Send + Sync + 'static {
    /// Tells what has to be known to judge mutations.
    fn look<'a>(&'a self, hosting: Hosting<'a>, wanted: &'a Wanted) -> Step<'a, Part>;

    /// Makes a commit, and publishes its changes as events in the same step. Gives back the version
    /// of the first change; `None` if what was judged has changed, and nothing was done.
    ///
    /// `before` is the version of the last change that the committer's commits before have made: if there
    /// is a later one of its, this commit was made before, and has no other effect. A committer that
    /// does not know what became of a commit must not make another one.
    fn commit<'a>(
        &'a self,
        hosting: Hosting<'a>,
        before: Version,
        commit: &'a Commit,
    ) -> Step<'a, Option<Version>>;

    /// Reads a page, as [`Collection::load`](tidings_core::state::Collection::load) does, once for
    /// all of these clients; the load itself names none. Gives back, in their order, the number of
    /// the last mutation of each that was judged before.
    fn load<'a>(
        &'a self,
        hosting: Hosting<'a>,
        load: &'a Load,
        clients: &'a [Arc<str>],
    ) -> Step<'a, (Page, Vec<u64>)>;

    /// The records that have the names of these sessions last for another `timeout`; so do those
    /// that are new. Gives back those whose time is over, each to one who asks.
    fn beat<'a>(
        &'a self,
        hosting: Hosting<'a>,
        present: &'a [Arc<str>],
        timeout: Duration,
    ) -> Step<'a, Vec<(Key, Version)>>;
}
