//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::Map;
use tidings_core::Pattern;

use crate::auth;
use crate::config::{Auth, Config, ConfigError, Layers, Secret, parse_duration};
use crate::demo;

const AFTER_HELP: &str = "\
Settings come from four places; a later one wins:
  1. built-in defaults         tidings-server config   prints them all, with what they mean
  2. a TOML file               --config tidings.toml   (or TIDINGS_CONFIG)
  3. environment variables     TIDINGS_LIMITS_MAX_PAYLOAD='64 KiB'   is limits.max_payload
  4. flags                     --set limits.max_payload='64 KiB'

Examples:
  tidings-server
      listens on 127.0.0.1:9000: Tidings clients at ws://127.0.0.1:9000/ws, Socket.IO clients at
      http://127.0.0.1:9000
  tidings-server --demo
      a board to share at http://127.0.0.1:9000/demo/; needs the package (bindings/js/build)
  tidings-server --listen 0.0.0.0:9000 --insecure
      lets everyone in who reaches the machine
  tidings-server --set tls.certificate=chain.pem --set tls.key=key.pem
      encrypts: clients at wss:// and https://
  tidings-server --redis redis://10.0.0.1:6379,redis://10.0.0.2:6379
      one of many instances that share their events
  tidings-server --redis redis://10.0.0.1:6379 --node-adapter classic
      the same, and a member of the cluster that Node's Socket.IO servers form there
  tidings-server --database sqlite:tidings.db --set store.events=true
      keeps what was published, and who was connected, in a file
  tidings-server config > tidings.toml
      a file to start from
  tidings-server schema --ts --config tidings.toml > tidings.ts
      the types of all events and collections, for front ends
  tidings-server schema check released/order.schema.json order.schema.json
      fails if the new version of a schema may refuse what the old one accepts
  tidings-server token ann --subscribe 'orders.**' --set auth.secret_file=secret
      a token to try it with
  curl http://127.0.0.1:9000/api/websocket/health
      answers when the server is up

SIGTERM and Ctrl-C stop it: clients are told to connect elsewhere, what waits for them is written,
and it ends after timeouts.drain at the latest.";

/// The Tidings server: Socket.IO and Tidings clients on one port, recoverable events in lanes.
#[derive(Debug, Parser)]
#[command(name = "tidings-server", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Where the settings come from.
    #[command(flatten)]
    pub options: Options,
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else than serving the program can do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Print the effective configuration as TOML and stop.
    Config,
    /// Print the schemas of all events and collections that the configuration declares and stop: as
    /// JSON, or as TypeScript for clients that use @tidings/client. What a part with
    /// "x-tidings-sensitive": true describes only those get whose token has it in its claim sensitive.
    #[command(args_conflicts_with_subcommands = true)]
    Schema {
        /// As a module of TypeScript types, for `connect` and `collection` of that package.
        #[arg(long)]
        ts: bool,
        /// What else to do with schemas.
        #[command(subcommand)]
        command: Option<SchemaCommand>,
    },
    /// Make a token to try the server out with, signed with its secret, print it and stop.
    Token(Token),
}

/// What else than printing them can be done with schemas.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum SchemaCommand {
    /// Say whether a new version of a schema accepts all that the old one accepts, and stop: with 0 if
    /// it does, with 1 and the places and rules if it may not, with 2 if a file is no schema.
    Check {
        /// The file with the old version.
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The file with the new one.
        #[arg(value_name = "NEW")]
        new: PathBuf,
    },
}

/// What a token to be made says.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Token {
    /// Whose it is: the claim sub.
    #[arg(value_name = "SUBJECT")]
    pub subject: String,

    /// A pattern of events that may be received, such as 'orders.**'; may be given several times.
    #[arg(long, value_name = "PATTERN")]
    pub subscribe: Vec<String>,

    /// A pattern of events that may be published, and of requests that may be made.
    #[arg(long, value_name = "PATTERN")]
    pub publish: Vec<String>,

    /// A pattern of records that may be changed, such as 'state.todos.*'.
    #[arg(long, value_name = "PATTERN")]
    pub mutate: Vec<String>,

    /// A pattern of events and records of which what is sensitive (x-tidings-sensitive in their schema)
    /// may be seen.
    #[arg(long, value_name = "PATTERN")]
    pub sensitive: Vec<String>,

    /// It may see and do what is about the server and all of its clients: statistics, sessions.
    #[arg(long)]
    pub admin: bool,

    /// How long it is good.
    #[arg(long, value_name = "DURATION", default_value = "1 h", value_parser = good_for)]
    pub good_for: Duration,
}

fn good_for(text: &str) -> Result<Duration, String> {
    parse_duration(text)
}

impl Token {
    /// The token, signed with the secret that the server of this configuration knows.
    ///
    /// # Errors
    /// When there is no secret, or a claim is not what it should be: what is wrong, for people.
    pub fn issue(&self, auth: &Auth) -> Result<String, String> {
        let secret = match (&auth.secret, &auth.secret_file) {
            (secret, _) if !secret.is_empty() => secret.reveal().to_owned(),
            (_, file) if !file.is_empty() => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    format!("auth.secret_file {file:?} cannot be read: {error}")
                })?;
                let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                lines
                    .next_back()
                    .ok_or(format!("auth.secret_file {file:?} has no secret"))?
                    .to_owned()
            }
            _ => {
                let message = "there is no secret to sign with: name the server's by --set \
                               auth.secret_file=FILE, or --auth-secret; keys of auth.jwks are \
                               public, and only their owner signs with them";
                return Err(message.to_owned());
            }
        };
        let mut claims = Map::new();
        for (claim, patterns) in [
            ("subscribe", &self.subscribe),
            ("publish", &self.publish),
            ("mutate", &self.mutate),
            ("sensitive", &self.sensitive),
        ] {
            for pattern in patterns {
                Pattern::new(pattern.as_str())
                    .map_err(|error| format!("--{claim} {pattern:?}: {error}"))?;
            }
            if !patterns.is_empty() {
                claims.insert(claim.to_owned(), patterns.clone().into());
            }
        }
        if self.admin {
            claims.insert("admin".to_owned(), true.into());
        }
        for (claim, values) in [("aud", &auth.audience), ("iss", &auth.issuer)] {
            if let Some(value) = values.first() {
                claims.insert(claim.to_owned(), value.clone().into());
            }
        }
        auth::issue(&secret, &self.subject, self.good_for, claims)
            .map_err(|error| error.to_string())
    }
}

/// Flags that set something.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE", env = "TIDINGS_CONFIG", hide_env = true, global = true)]
    pub config: Option<PathBuf>,

    /// Listen there; port 0 takes a free one [default: 127.0.0.1:9000].
    #[arg(long, value_name = "IP:PORT", global = true)]
    pub listen: Option<SocketAddr>,

    /// Listen on other addresses than loopback although nothing authenticates clients.
    #[arg(long, global = true)]
    pub insecure: bool,

    /// The name of this instance in stats and in clients' welcome [default: random].
    #[arg(long, value_name = "NAME", global = true)]
    pub instance: Option<String>,

    /// How many shards share the sessions [default: one per processor].
    #[arg(long, value_name = "N", global = true)]
    pub shards: Option<usize>,

    /// What to log: error, warn, info, debug, trace, or directives such as
    /// info,tidings_server=debug [default: RUST_LOG, else info].
    #[arg(long, value_name = "FILTER", global = true)]
    pub log: Option<String>,

    /// Set any setting, e.g. --set heartbeat.ping_interval='5 s'; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value, global = true)]
    pub set: Vec<(String, String)>,

    /// Share events with other instances by Redis: redis://HOST:PORT or rediss://HOST:PORT, with
    /// commas between several nodes of a cluster [default: the log is in this process's memory].
    #[arg(long, value_name = "URL[,URL...]", global = true)]
    pub redis: Option<String>,

    /// Serve the demo at /demo/, a board that all who open it share, and declare the collections that
    /// it needs. DIR is where the package @tidings/client was built [default: bindings/js/dist].
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true,
          default_missing_value = "bindings/js/dist", global = true)]
    pub demo: Option<PathBuf>,

    /// Keep who was connected, and with --set store.events=true what was published, in a database:
    /// sqlite:PATH or postgres://USER@HOST/DATABASE [default: nothing is kept beyond the log].
    #[arg(long, value_name = "URL", global = true)]
    pub database: Option<String>,

    /// Let in only clients with a token (JWT) signed with this secret. Others on this machine can
    /// see it: --set auth.secret_file=FILE is better [default: nobody is authenticated].
    #[arg(long, value_name = "SECRET", global = true)]
    pub auth_secret: Option<Secret>,

    /// Let in only clients with a token signed with a key of this JSON Web Key Set.
    #[arg(long, value_name = "FILE", global = true)]
    pub auth_jwks: Option<String>,

    /// Join a cluster of Node Socket.IO servers that use @socket.io/redis-adapter on the same
    /// Redis: off, classic or sharded [default: off].
    #[arg(long, value_name = "KIND", global = true)]
    pub node_adapter: Option<String>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => Err("write KEY=VALUE, for example limits.max_depth=32".to_owned()),
    }
}

impl Options {
    /// The configuration that results: defaults, then the file, then `environment`, then flags.
    pub fn resolve(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut layers = Layers::new();
        if self.demo.is_some() {
            layers = layers.text(demo::COLLECTIONS, "--demo")?;
        }
        if let Some(file) = &self.config {
            layers = layers.file(file)?;
        }
        layers = layers.environment(environment)?;
        for (key, value) in &self.set {
            layers = layers.set(key, value, "--set")?;
        }
        let flags = [
            ("listen", self.listen.map(|address| address.to_string())),
            ("insecure", self.insecure.then(|| "true".to_owned())),
            ("instance", self.instance.clone()),
            ("shards", self.shards.map(|n| n.to_string())),
            ("log", self.log.clone()),
            ("redis", self.redis.clone()),
            ("database", self.database.clone()),
            ("auth_secret", self.auth_secret.as_ref().map(|s| s.reveal().to_owned())),
            ("auth_jwks", self.auth_jwks.clone()),
            ("node_adapter", self.node_adapter.clone()),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                layers = layers.set(key, &value, &format!("--{}", key.replace('_', "-")))?;
            }
        }
        layers.finish()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn resolve(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let words = std::iter::once("tidings-server").chain(arguments.iter().copied());
        let cli = Cli::try_parse_from(words).expect("valid arguments");
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        cli.options.resolve(environment)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_environment() {
        let environment = [("TIDINGS_LISTEN", "127.0.0.1:1"), ("TIDINGS_INSTANCE", "e")];
        let config =
            resolve(&["--listen", "127.0.0.1:2", "--set", "limits.max_depth=3"], &environment)
                .expect("a configuration");
        assert_eq!(config.listen.port(), 2);
        assert_eq!((config.instance.as_str(), config.limits.max_depth), ("e", 3));
    }

    #[test]
    fn the_demo_declares_its_collections_and_takes_no_command_for_its_directory() {
        let cli = Cli::try_parse_from(["tidings-server", "--demo", "config"]).expect("valid");
        assert_eq!(cli.command, Some(Command::Config));
        assert_eq!(cli.options.demo.as_deref(), Some("bindings/js/dist".as_ref()));
        let config = resolve(&["--demo=elsewhere"], &[]).expect("a configuration");
        assert!(config.collections.contains_key("demo-cards"), "{:?}", config.collections);
        assert!(config.collections["demo-people"].presence);
        assert!(resolve(&[], &[]).expect("a configuration").collections.is_empty());
    }

    #[test]
    fn what_is_no_database_is_refused_by_name() {
        let text = resolve(&["--database", "x"], &[]).expect_err("refused").to_string();
        assert!(text.starts_with("store.database: "), "{text}");
    }
}
