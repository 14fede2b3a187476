//! What the command line understands.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::client::Stack;
use crate::scenario::{Mix, Redis, Span};

const AFTER_HELP: &str = "\
Examples:
  tidings-harness                                  the main job: scenario rooms, 1000 connections
  tidings-harness run fanout --floor               compare with a bare write loop on this machine
  tidings-harness run --connections 5000 --transport ws --report out
  tidings-harness run my-scenario.toml --rate 200  your own scenario (docs/harness.md)
  tidings-harness run --target http://10.0.0.7:9000    servers that run already
  tidings-harness compare before/report.json out/report.json

Exit code: 0 all SLAs hold, 1 one is missed, 2 usage or environment.";

/// Drives thousands of real connections against Tidings servers and says whether the SLAs hold.
///
/// Without a command it runs the default scenario: it starts a server of its own, connects 1000
/// clients over both transports, publishes for twelve seconds by a fixed plan, and checks that
/// every event reached every subscriber once, in order and in time.
#[derive(Debug, Parser)]
#[command(name = "tidings-harness", version, after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a scenario and judge it by its SLAs (the default command).
    #[command(after_help = AFTER_HELP)]
    Run(RunArgs),
    /// List the built-in scenarios.
    List(ListArgs),
    /// Start the servers of a scenario, print their URLs, and keep them until Ctrl-C.
    Up(UpArgs),
    /// Measure how costs grow with the number of servers and of partitions, on a Redis Cluster of
    /// the harness.
    Growth(GrowthArgs),
    /// Compare two report.json files; exit code 1 when the second is worse.
    Compare(CompareArgs),
    /// The server process of a run.
    #[command(hide = true)]
    Serve(ServeArgs),
    /// The bare write loop of a run.
    #[command(hide = true)]
    Floor(ServeArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table on standard output.
    Human,
    /// One JSON object on standard output.
    Json,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A built-in scenario (see `list`) or a TOML file.
    #[arg(value_name = "SCENARIO | FILE.toml", default_value = "rooms")]
    pub(super) scenario: String,
    /// How many connections in all; groups grow and shrink by their weight.
    #[arg(long, value_name = "N")]
    pub(super) connections: Option<usize>,
    /// How long to publish, such as 30s or 10m; steps move along.
    #[arg(long, value_name = "D")]
    pub(super) duration: Option<Span>,
    /// How many events per second are published in all.
    #[arg(long, value_name = "R")]
    pub(super) rate: Option<f64>,
    /// How many servers to start; more than one need --redis [default: the scenario's].
    #[arg(long, value_name = "K")]
    pub(super) instances: Option<usize>,
    /// What joins the servers: none, a private cluster, or redis:// URLs [default: the scenario's].
    #[arg(long, value_name = "none|cluster|URL")]
    pub(super) redis: Option<Redis>,
    /// What the faults of a scenario with random ones are drawn from [default: another one each
    /// time].
    #[arg(long, value_name = "S")]
    pub(super) seed: Option<u64>,
    /// Servers that run already, instead of starting any; may be given several times.
    #[arg(long, value_name = "URL", num_args = 1.., value_delimiter = ',')]
    pub(super) target: Vec<String>,
    /// Which transport the clients use.
    #[arg(long, value_enum)]
    pub(super) transport: Option<Mix>,
    /// Which client makes the load [default: tidings; socketio where servers run on Node].
    #[arg(long, value_enum)]
    pub(super) client: Option<Stack>,
    /// Run the same against a bare write loop afterwards, and report the ratio.
    #[arg(long)]
    pub(super) floor: bool,
    /// Write report.json and a self-contained report.html into this directory.
    #[arg(long, value_name = "DIR")]
    pub(super) report: Option<PathBuf>,
    /// What to print on standard output; progress goes to standard error.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// A built-in scenario or a TOML file, for its server settings.
    #[arg(value_name = "SCENARIO | FILE.toml", default_value = "rooms")]
    pub(super) scenario: String,
    /// How many servers to start; more than one need --redis [default: the scenario's].
    #[arg(long, value_name = "K")]
    pub(super) instances: Option<usize>,
    /// What joins the servers: none, a private cluster, or redis:// URLs [default: the scenario's].
    #[arg(long, value_name = "none|cluster|URL")]
    pub(super) redis: Option<Redis>,
}

#[derive(Debug, Args)]
pub(super) struct GrowthArgs {
    /// The numbers of servers, each with the default number of partitions.
    #[arg(long, value_name = "K,K,...", value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    pub(super) instances: Vec<usize>,
    /// The numbers of partitions, each with as many servers as the scenario growth has.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',',
        default_values_t = [1, 2, 4, 8, 16, 32, 64])]
    pub(super) partitions: Vec<u16>,
    /// How many connections [default: the scenario's].
    #[arg(long, value_name = "N")]
    pub(super) connections: Option<usize>,
    /// How many events per second are published in all [default: the scenario's].
    #[arg(long, value_name = "R")]
    pub(super) rate: Option<f64>,
    /// How long each measurement publishes [default: the scenario's].
    #[arg(long, value_name = "D")]
    pub(super) duration: Option<Span>,
    /// Write growth.json and growth.txt into this directory, too.
    #[arg(long, value_name = "DIR")]
    pub(super) report: Option<PathBuf>,
    /// What to print on standard output; progress goes to standard error.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The report to compare with.
    #[arg(value_name = "A.json")]
    pub(super) a: PathBuf,
    /// The report to judge.
    #[arg(value_name = "B.json")]
    pub(super) b: PathBuf,
    /// How much worse latencies and costs may be, in percent. Losses are allowed none.
    #[arg(long, value_name = "PERCENT", default_value_t = 25.0)]
    pub(super) tolerance: f64,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Where to listen.
    #[arg(long)]
    pub(super) listen: SocketAddr,
    /// Settings as TOML.
    #[arg(long, default_value = "")]
    pub(super) settings: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_is_run() {
        let cli = Cli::try_parse_from(["x"]).unwrap();
        assert!(cli.command.is_none() && cli.run.scenario == "rooms");
        let cli = Cli::try_parse_from(["x", "fanout", "--floor"]).unwrap();
        assert!(cli.command.is_none() && cli.run.scenario == "fanout" && cli.run.floor);
    }

    #[test]
    fn the_contract_is_understood() {
        let line = "x run echo --connections 5 --duration 2s --rate 9.5 --instances 1 --redis none \
                    --target http://a --target http://b --transport socketio --client \
                    rust-socketio --floor --report out --format json --seed 7";
        let cli = Cli::try_parse_from(line.split_ascii_whitespace()).unwrap();
        let Some(Command::Run(args)) = cli.command else { panic!("not run") };
        assert_eq!(args.target, ["http://a", "http://b"]);
        assert_eq!((args.transport, args.client), (Some(Mix::SocketIo), Some(Stack::RustSocketio)));
        assert_eq!(args.duration.unwrap().as_secs_f64(), 2.0);
    }
}
