//! `tidings-server`: the server as a program.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tidings_server::cli::{Cli, Command, SchemaCommand};
use tidings_server::demo::Demo;
use tidings_server::schemas::Schema;
use tidings_server::{Config, Server, ServerError};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Wrong usage, as clap has it.
const USAGE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match cli.options.resolve(environment()) {
        Ok(config) => config,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    match cli.command {
        Some(Command::Config) => print(&config.to_toml()),
        Some(Command::Schema { command: Some(SchemaCommand::Check { old, new }), .. }) => {
            check_schemas(&old, &new)
        }
        Some(Command::Schema { ts, command: None }) => print_schemas(config, ts),
        Some(Command::Token(token)) => match token.issue(&config.auth) {
            Ok(token) => print(&(token + "\n")),
            Err(message) => fail(USAGE, &message),
        },
        None => serve(config, cli.options.demo.as_deref()).await,
    }
}

/// The environment variables that are text; others cannot be settings.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("tidings-server: {message}");
    ExitCode::from(code)
}

/// Prints, and does not mind when nobody reads to the end.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(1, &error.to_string()),
    }
}

fn print_schemas(config: Config, as_typescript: bool) -> ExitCode {
    match Server::builder().config(config).schemas() {
        Ok(schemas) if as_typescript => print(&schemas.to_typescript()),
        Ok(schemas) => print(&format!("{:#}\n", schemas.to_json())),
        Err(error) => fail(USAGE, &error.to_string()),
    }
}

/// Says what of the values that the old schema accepts the new one may refuse.
fn check_schemas(old: &Path, new: &Path) -> ExitCode {
    let read = |file: &Path| {
        let name = file.display().to_string();
        Schema::read(&name).map_err(|error| format!("{name}: {error}"))
    };
    match (read(old), read(new)) {
        (Ok(old), Ok(new)) => {
            let found = old.differences(&new);
            let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
            if lines.is_empty() {
                return print("compatible: the new schema accepts all that the old one accepts\n");
            }
            let verdict = match found.iter().any(|one| !one.undecided) {
                true => "not compatible: the new schema may refuse what the old one accepts",
                false => "not known to be compatible: nothing tells that it is not, either",
            };
            fail(1, &format!("{verdict}\n  {}", lines.join("\n  ")))
        }
        (Err(error), _) | (_, Err(error)) => fail(USAGE, &error),
    }
}

async fn serve(config: Config, demo: Option<&Path>) -> ExitCode {
    if let Err(message) = log(&config.log) {
        return fail(USAGE, &message);
    }
    let stop = match stop_signal() {
        Ok(stop) => stop,
        Err(error) => return fail(1, &format!("cannot wait for signals: {error}")),
    };
    let demo = match demo.map(Demo::load).transpose() {
        Ok(demo) => demo,
        Err(error) => return fail(USAGE, &error.to_string()),
    };
    let mut builder = Server::builder().config(config);
    if let Some(demo) = &demo {
        builder = builder.demo(demo.clone());
    }
    match builder.bind().await {
        Ok(server) => {
            if let Some(demo) = demo {
                demo.begin(&server);
            }
            server.serve(stop).await;
            ExitCode::SUCCESS
        }
        Err(error @ ServerError::Config(_)) => fail(USAGE, &error.to_string()),
        Err(error) => fail(1, &error.to_string()),
    }
}

/// Logs to stderr, in colours on a terminal.
fn log(filter: &str) -> Result<(), String> {
    let (origin, directives) = match std::env::var("RUST_LOG") {
        Ok(directives) if filter.is_empty() => ("RUST_LOG", directives),
        _ if filter.is_empty() => ("log", "info".to_owned()),
        _ => ("log", filter.to_owned()),
    };
    let filter = EnvFilter::try_new(&directives).map_err(|error| {
        format!("{origin}: {directives:?} is no filter ({error}): use a level such as \"debug\"")
    })?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
    Ok(())
}

/// Completes at SIGTERM or SIGINT. A second one ends the process at once.
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let wait = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let (stopped, stop) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut wait = wait;
        wait().await;
        let _ = stopped.send(());
        wait().await;
        tracing::warn!("stopped at once");
        std::process::exit(1);
    });
    Ok(async move {
        let _ = stop.await;
    })
}
