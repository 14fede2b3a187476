//! The command line.

mod args;
mod commands;
mod growth;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// What a command came to.
enum End {
    /// Everything held.
    Pass,
    /// A limit was missed.
    Fail,
}

/// Why a command could not do its work: told on standard error, exit code 2.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Reads the command line, does what it says, and gives the exit code: 0 all limits hold, 1 one
/// was missed, 2 usage or environment.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let end = match cli.command {
        None => commands::run(cli.run),
        Some(Command::Run(args)) => commands::run(args),
        Some(Command::List(args)) => commands::list(args),
        Some(Command::Up(args)) => commands::up(args),
        Some(Command::Growth(args)) => growth::growth(&args),
        Some(Command::Compare(args)) => commands::compare(&args),
        Some(Command::Serve(args)) => commands::serve(args),
        Some(Command::Floor(args)) => commands::floor(args),
    };
    match end {
        Ok(End::Pass) => ExitCode::SUCCESS,
        Ok(End::Fail) => ExitCode::from(1),
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::from(2)
        }
    }
}
