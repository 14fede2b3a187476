//! A server in a process of its own, started from this same binary.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::backplane::BackplaneCounts;
use super::http;
use super::node;
use super::usage::Usage;

/// How long a server may take until it answers that it is well, which it is not before it has reached
/// Redis.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a server that was asked to stop may take.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How long a server may take to tell what it has counted.
const TELL_PATIENCE: Duration = Duration::from_secs(1);

/// How often a starting server is asked for its health.
const HEALTH_INTERVAL: Duration = Duration::from_millis(20);

/// Lines of a server's log kept to explain its death.
const LOG_LINES: usize = 20;

/// What a starting server prints before its address.
pub(crate) const LISTENING: &str = "listening on ";

/// Which program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The Tidings server.
    Serve,
    /// The bare write loop.
    Floor,
    /// Socket.IO on Node, whose settings are JSON.
    Node,
}

impl Program {
    /// The word for it: the hidden subcommand that runs it, where it is of this binary.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Floor => "floor",
            Self::Node => "node",
        }
    }

    /// What is to be run.
    async fn command(self, listen: SocketAddr, settings: &str) -> Result<Command, String> {
        if self == Self::Node {
            // Packages may have to be installed.
            let script = tokio::task::spawn_blocking(node::script).await;
            let script = script.map_err(|error| error.to_string())??;
            let mut command = Command::new("node");
            command.arg(script).args([&listen.to_string(), settings]);
            return Ok(command);
        }
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg(self.as_str());
        command.args(["--listen", &listen.to_string(), "--settings", settings]);
        Ok(command)
    }
}

/// A server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{role} did not start: {problem}{log}")]
pub(crate) struct StartError {
    role: String,
    problem: String,
    log: String,
}

/// A server process. Dropping it kills the process; so does the death of this one, because the
/// server ends when its standard input does.
pub(crate) struct ServerProcess {
    role: String,
    program: Program,
    settings: String,
    threads: usize,
    addr: SocketAddr,
    running: Option<Running>,
    /// CPU time of earlier lives.
    past_cpu_seconds: f64,
    /// What it counted of its work with Redis in earlier lives.
    past_backplane: BackplaneCounts,
    peak_bytes: u64,
    asked_to_die: bool,
}

struct Running {
    child: Child,
    pid: u32,
    _stdin: Option<ChildStdin>,
    log: Arc<Mutex<VecDeque<String>>>,
    last: Usage,
    backplane: BackplaneCounts,
}

impl ServerProcess {
    /// Starts a server with these settings (TOML) on a free port, with this many threads, and waits
    /// until it is well.
    pub(crate) async fn start(
        role: String,
        program: Program,
        settings: String,
        threads: usize,
    ) -> Result<Self, StartError> {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self {
            role,
            program,
            settings,
            threads,
            addr: any_port,
            running: None,
            past_cpu_seconds: 0.0,
            past_backplane: BackplaneCounts::default(),
            peak_bytes: 0,
            asked_to_die: false,
        };
        server.launch().await?;
        Ok(server)
    }

    /// What it is called in reports.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// How it ended, told once, if it has ended without having been asked to.
    pub(crate) fn unexpected_end(&mut self) -> Option<String> {
        let status = match self.running.as_mut()?.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => describe(status),
            Err(error) => error.to_string(),
        };
        let log = self.bury();
        let asked = std::mem::take(&mut self.asked_to_die);
        (!asked).then(|| format!("{} ended by itself: {status}{log}", self.role))
    }

    /// What it has used in all its lives. Cheap enough to be asked several times a second.
    pub(crate) fn usage(&mut self) -> Usage {
        let Some(running) = self.running.as_mut() else {
            return Usage {
                cpu_seconds: self.past_cpu_seconds,
                rss_bytes: 0,
                rss_peak_bytes: self.peak_bytes,
            };
        };
        if let Some(usage) = Usage::of(running.pid) {
            running.last = usage;
            self.peak_bytes = self.peak_bytes.max(usage.rss_peak_bytes);
        }
        Usage {
            cpu_seconds: self.past_cpu_seconds + running.last.cpu_seconds,
            rss_bytes: running.last.rss_bytes,
            rss_peak_bytes: self.peak_bytes,
        }
    }

    /// What it has counted of its work with Redis in all its lives: what it tells now, or told
    /// last.
    pub(crate) async fn backplane(&mut self) -> BackplaneCounts {
        let Some(running) = self.running.as_mut() else { return self.past_backplane };
        if self.program == Program::Serve
            && let Ok(counts) = BackplaneCounts::of(self.addr, TELL_PATIENCE).await
        {
            running.backplane = counts;
        }
        self.past_backplane + running.backplane
    }

    /// Stops it without ending it (SIGSTOP).
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Fails only when the process is gone already.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.usage();
        self.backplane().await;
        if let Some(running) = self.running.as_mut() {
            // Fails only when the process is gone already, which is what is wanted.
            let _ = running.child.kill().await;
            self.bury();
        }
    }

    /// Asks it to stop (SIGTERM), waits, and kills it if it does not.
    pub(crate) async fn stop(&mut self) {
        self.usage();
        self.backplane().await;
        self.asked_to_die = true;
        self.signal(Signal::TERM);
        // One that is paused could not hear it.
        self.resume();
        let Some(running) = self.running.as_mut() else { return };
        if tokio::time::timeout(STOP_PATIENCE, running.child.wait()).await.is_err() {
            let _ = running.child.kill().await;
        }
        self.bury();
        self.asked_to_die = false;
    }

    /// Starts it again at the same address.
    pub(crate) async fn restart(&mut self) -> Result<(), StartError> {
        self.stop().await;
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), StartError> {
        let command = self.program.command(self.addr, &self.settings).await;
        let mut child = command
            .map_err(|problem| self.failure(problem))?
            .env("TOKIO_WORKER_THREADS", self.threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for the harness, which then stops its servers in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let node = self.program == Program::Node;
                self.failure(if node { node::not_run(&error) } else { error.to_string() })
            })?;
        let (Some(stdout), Some(stderr), Some(pid)) =
            (child.stdout.take(), child.stderr.take(), child.id())
        else {
            return Err(self.failure("its output cannot be read".into()));
        };
        let log = Arc::new(Mutex::new(VecDeque::new()));
        tokio::spawn(keep_log(BufReader::new(stderr), log.clone()));
        let stdin = child.stdin.take();
        self.running = Some(Running {
            child,
            pid,
            _stdin: stdin,
            log,
            last: Usage::default(),
            backplane: BackplaneCounts::default(),
        });
        self.asked_to_die = false;
        let mut lines = BufReader::new(stdout).lines();
        let told = tokio::time::timeout(START_PATIENCE, async {
            while let Some(line) = lines.next_line().await.map_err(|e| e.to_string())? {
                if let Some(addr) = line.strip_prefix(LISTENING) {
                    return addr.parse().map_err(|_| format!("it listens on {addr:?}"));
                }
            }
            Err("it ended".to_owned())
        })
        .await
        .unwrap_or_else(|_| Err(format!("no address within {START_PATIENCE:?}")));
        self.addr = told.map_err(|problem| self.failure(problem))?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.healthy().await
    }

    async fn healthy(&mut self) -> Result<(), StartError> {
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        loop {
            let problem = match http::check_health(self.addr, START_PATIENCE).await {
                Ok(()) => return Ok(()),
                Err(problem) => problem,
            };
            if let Some(end) = self.unexpected_end() {
                return Err(self.failure(end));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(self.failure(problem));
            }
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
    }

    /// Forgets the process that has ended; returns the end of its log.
    fn bury(&mut self) -> String {
        let Some(running) = self.running.take() else { return String::new() };
        self.past_cpu_seconds += running.last.cpu_seconds;
        self.past_backplane = self.past_backplane + running.backplane;
        log_text(&running.log)
    }

    fn failure(&mut self, problem: String) -> StartError {
        let log = self.running.as_ref().map(|r| log_text(&r.log)).unwrap_or_default();
        StartError { role: self.role.clone(), problem, log }
    }
}

fn log_text(log: &Mutex<VecDeque<String>>) -> String {
    let lines = log.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().map(|line| format!("\n  | {line}")).collect()
}

async fn keep_log(
    stderr: BufReader<tokio::process::ChildStderr>,
    log: Arc<Mutex<VecDeque<String>>>,
) {
    let mut lines = stderr.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
