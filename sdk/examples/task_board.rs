//! A task board in the terminal. Run it twice, each with a directory of its own for what is
//! pending, and edit at once; stop the server and go on.
//!
//! ```text
//! cargo run -p tidings-server -- --config board.toml     # [collections.tasks]
//! cargo run -p tidings --example task_board -- /tmp/ann
//! ```
use std::io::{BufRead, stdin};

use futures_signals::signal_vec::SignalVecExt as _;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tidings::Client;
use tidings::collection::{Collection, FileStorage, View};

#[derive(Serialize, Deserialize)]
struct Task {
    title: String,
    #[serde(default)]
    done: bool,
    #[serde(default)]
    votes: i64,
}

const HELP: &str =
    "add TITLE · done KEY · vote KEY · title KEY TITLE · drop KEY · undo · redo · quit";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("which directory is for what is pending?")?;
    let url = std::env::var("TIDINGS_URL").unwrap_or_else(|_| "http://127.0.0.1:9000".to_owned());
    let client = Client::builder(url).build()?;
    let tasks = client.collection::<Task>("tasks").storage(FileStorage::new(directory)).await?;
    let board = tasks.view().sort_by_key(|task| (task.done, -task.votes)).open();

    let shown = tasks.clone();
    tokio::spawn(async move {
        let mut changes = board.signal_vec().to_stream();
        while changes.next().await.is_some() {
            draw(&shown, &board);
        }
    });
    let mut conflicts = tasks.conflicts();
    tokio::spawn(async move {
        while let Some(conflict) = conflicts.next().await {
            println!("conflict in {}: {:?}", conflict.key, conflict.outcome);
        }
    });
    let typed = tasks.clone();
    tokio::task::spawn_blocking(move || {
        for line in stdin().lock().lines().map_while(Result::ok).take_while(|line| line != "quit") {
            if let Err(error) = obey(&typed, &line) {
                println!("{error}\n{HELP}");
            }
        }
    })
    .await?;
    client.close().await;
    Ok(())
}

fn obey(tasks: &Collection<Task>, line: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match (word, rest.split_once(' ')) {
        ("add", _) if !rest.is_empty() => {
            let task = Task { title: rest.to_owned(), done: false, votes: 0 };
            // Two people may add at once: the key must not be the same.
            let key = format!("{}-{:03x}", tasks.len() + 1, std::process::id() & 0xfff);
            tasks.insert(&key, &task)?;
        }
        ("title", Some((key, title))) => {
            tasks.change(key, |task| title.clone_into(&mut task.title))?;
        }
        ("done", None) => drop(tasks.change(rest, |task| task.done = !task.done)?),
        ("vote", None) => drop(tasks.increment(rest, &serde_json::json!({"votes": 1}))?),
        ("drop", None) => drop(tasks.delete(rest)?),
        ("undo", _) => drop(tasks.undo()?),
        ("redo", _) => drop(tasks.redo()?),
        _ => return Err("what is that?".into()),
    }
    Ok(())
}

fn draw(tasks: &Collection<Task>, board: &View<Task>) {
    let status = tasks.status();
    println!("\n{} tasks, {} pending", status.records, status.pending);
    for entry in board.entries().iter() {
        let (done, pending) =
            (if entry.value.done { 'x' } else { ' ' }, if entry.pending { "*" } else { "" });
        println!(
            "[{done}] {:<8} {:>3}  {}{pending}",
            entry.key.as_str(),
            entry.value.votes,
            entry.value.title
        );
    }
    if let Some(trouble) = status.trouble {
        println!("({trouble})");
    }
}
