//! The server process: the server library, started by the harness.

use std::io;
use std::net::SocketAddr;
use std::thread;

use tidings_server::Server;
use tidings_server::config::Layers;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::server::LISTENING;
use super::{application, raise_open_files};
use crate::cli::Trouble;

/// Serves until it is asked to stop or the harness is gone.
pub(crate) async fn run(listen: SocketAddr, settings: &str) -> Result<(), Trouble> {
    raise_open_files();
    let config = Layers::new()
        .text(settings, "the scenario's [server]")?
        .set("listen", &listen.to_string(), "--listen")?
        .finish()?;
    let server = Server::builder().config(config).bind().await?;
    application::add(&server)?;
    println!("{LISTENING}{}", server.local_addr());
    let mut terminate = signal(SignalKind::terminate())?;
    let orphaned = orphaned();
    server
        .serve(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = orphaned => {}
            }
        })
        .await;
    Ok(())
}

/// Completes when standard input ends, which it does when the harness ends, however it ends.
pub(super) fn orphaned() -> oneshot::Receiver<()> {
    let (gone, orphaned) = oneshot::channel();
    thread::spawn(move || {
        // An error means that nobody holds the other end either.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = gone.send(());
    });
    orphaned
}
