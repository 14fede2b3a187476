//! The demo: a small board that all who open it share, to see what the package for browsers does.
//!
//! The pages are in the program, the package is not: it comes out of its own build (`bindings/js/build`),
//! and is read from where that has put it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use serde_json::json;

use crate::collections::CollectionError;
use crate::page_file::{File, media_type};
use crate::server::{Remote, Server};

/// Where the pages are.
const PATH: &str = "/demo/";

/// The file of the package that pages import.
const ENTRY: &str = "index.js";

/// How deep files of the package are looked for.
const MAX_DEPTH: usize = 4;

/// The most bytes that the files of the package may have together.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The collections that the pages use, as a configuration.
pub(crate) const COLLECTIONS: &str = include_str!("../../bindings/js/demo/collections.toml");

/// What pages may do: run their own scripts and the package's WebAssembly, and talk to this server.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
                      img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../bindings/js/demo/", $name)))),*]
    };
}

/// The pages, by name.
const PAGES: &[(&str, &str)] = pages![
    "index.html",
    "style.css",
    "icon.svg",
    "board.js",
    "card.js",
    "column.js",
    "conflicts.js",
    "connection.js",
    "drag.js",
    "line.js",
    "people.js",
];

/// The demo cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The package was not built, or is elsewhere.
    #[error(
        "the demo needs the package @tidings/client, and there is no {} in {}: build it with \
         bindings/js/build, or say where it is with --demo=DIR", ENTRY, directory.display()
    )]
    NotBuilt {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// The package cannot be read.
    #[error("the demo needs the package @tidings/client, and {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is more than a package has.
    #[error(
        "{} has more than {} MiB of scripts and WebAssembly: that is not @tidings/client; say where \
         it is with --demo=DIR", directory.display(), MAX_BYTES >> 20
    )]
    TooLarge {
        /// Where it was looked for.
        directory: PathBuf,
    },
}

/// A board to look at in a browser, with the package that it needs.
#[derive(Debug, Clone)]
pub struct Demo {
    files: BTreeMap<String, File>,
}

impl Demo {
    /// With the package in this directory, the result of `bindings/js/build`. It is read now, so that a
    /// request reads no file.
    ///
    /// # Errors
    /// If it is not there, or cannot be read.
    pub fn load(package: &Path) -> Result<Self, DemoError> {
        if !package.join(ENTRY).is_file() {
            return Err(DemoError::NotBuilt { directory: package.to_owned() });
        }
        let mut files = BTreeMap::new();
        for (name, text) in PAGES {
            let content = Bytes::from_static(text.as_bytes());
            if let Some(media_type) = media_type(Path::new(name)) {
                files.insert((*name).to_owned(), File { media_type, content, policy: POLICY });
            }
        }
        let mut left = MAX_BYTES;
        read_all(package, "client/", MAX_DEPTH, &mut |name, path, media_type| {
            let unreadable = |source| DemoError::Unreadable { path: path.to_owned(), source };
            let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
            let too_large = || DemoError::TooLarge { directory: package.to_owned() };
            left = left.checked_sub(bytes).ok_or_else(too_large)?;
            let content = std::fs::read(path).map_err(unreadable)?.into();
            files.insert(name, File { media_type, content, policy: POLICY });
            Ok(())
        })?;
        Ok(Self { files })
    }

    /// Answers what the pages ask of `server`, and puts the first cards on an empty board. To be called
    /// once, before it serves.
    pub fn begin(&self, server: &Server) {
        server.handle("demo.echo", |request| async move { Ok(request.payload) });
        let remote = server.remote();
        tokio::spawn(async move {
            if let Err(error) = fill(&remote).await {
                tracing::warn!(%error, "the demo's first cards could not be written");
            }
        });
    }

    /// Where the pages are, and the package beneath them.
    pub(crate) fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let to_pages = get(|| async { Redirect::temporary(PATH) });
        let router =
            Router::new().route("/", to_pages.clone()).route(PATH.trim_end_matches('/'), to_pages);
        self.files.iter().fold(router, |router, (name, file)| {
            let file = file.clone();
            let path = match name.as_str() {
                "index.html" => PATH.to_owned(),
                name => format!("{PATH}{name}"),
            };
            router.route(&path, get(|| async move { file.into_response() }))
        })
    }
}

/// Hands all files beneath `directory` that pages have a use for to `take`: under which name, where, and
/// what they are.
fn read_all(
    directory: &Path,
    prefix: &str,
    depth: usize,
    take: &mut impl FnMut(String, &Path, &'static str) -> Result<(), DemoError>,
) -> Result<(), DemoError> {
    let unreadable = |source| DemoError::Unreadable { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, name) = (entry.path(), entry.file_name());
        // What has a name that routes would understand otherwise is none of the package's.
        let Some(name) = name.to_str().filter(|name| is_plain(name)) else { continue };
        if path.is_dir() && depth > 0 {
            read_all(&path, &format!("{prefix}{name}/"), depth - 1, take)?;
        } else if let Some(media_type) = media_type(&path) {
            take(format!("{prefix}{name}"), &path, media_type)?;
        }
    }
    Ok(())
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The cards of a new board.
async fn fill(remote: &Remote) -> Result<(), CollectionError> {
    let Some(cards) = remote.collection("demo-cards") else { return Ok(()) };
    if !cards.records().await?.is_empty() {
        return Ok(());
    }
    const FIRST: [(&str, &str, &str, u32); 6] = [
        (
            "welcome",
            "doing",
            "Open this board in a second window: whatever you do shows in both",
            3,
        ),
        ("move", "doing", "Move a card: drag it, or choose it and press Alt with an arrow key", 1),
        ("offline", "ideas", "Take the network away, go on working, and bring it back", 2),
        ("conflict", "ideas", "Without network in one window: edit the same card in both", 0),
        ("switch", "ideas", "Change the transport while others type: nothing is lost", 0),
        ("undo", "done", "Undo takes back what you did, and leaves alone what others did since", 1),
    ];
    for (order, (key, column, title, likes)) in FIRST.into_iter().enumerate() {
        let card = json!({"column": column, "order": order, "title": title, "likes": likes});
        match cards.insert(key, &card).await {
            // Another instance was first.
            Err(CollectionError::Rejected { .. }) | Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
