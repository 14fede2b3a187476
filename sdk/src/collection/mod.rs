//! Collections: records that the server and its clients keep in step.
//!
//! What is shown is what the server has confirmed and, on top of it, what was written here and is
//! not confirmed yet. Writes are shown at once, wait for a connection if there is none, and are
//! taken back if the server rejects them. See docs/state.md for what happens at a conflict.
//!
//! ```no_run
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Todo { title: String, done: bool }
//! # async fn example(client: tidings::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let todos = client.collection::<Todo>("todos").await?;
//! let open = todos.view().filter(|todo| !todo.done).sort_by_key(|todo| todo.title.clone()).open();
//! todos.insert("tea", &Todo { title: "Make tea".into(), done: false })?;
//! println!("{} to do", open.len());
//! # Ok(())
//! # }
//! ```

mod batch;
mod builder;
mod error;
#[cfg(not(target_family = "wasm"))]
mod file;
mod follow;
mod handle;
mod keep;
mod kept;
mod lines;
mod list;
mod presence;
mod records;
mod shared;
mod storage;
mod sync;
mod view;
mod write;

pub use batch::Batch;
pub use builder::CollectionBuilder;
pub use error::{ChangeError, OpenError, WriteError};
#[cfg(not(target_family = "wasm"))]
pub use file::FileStorage;
pub use handle::{Collection, Conflicts};
pub use lines::Entries;
pub use presence::{JoinError, Presence};
pub use shared::{CollectionStatus, Entry};
pub use storage::{MemoryStorage, Storage, StorageError};
pub use tidings_core::state::{
    Conflict, Document, Edit, Key, KeyError, MutateError, Outcome, Patch, Policy, Reason,
    Rejection, Resolution, Resolve, Version,
};
pub use view::{View, ViewBuilder};
pub use write::{Acknowledged, Progress, Write};
