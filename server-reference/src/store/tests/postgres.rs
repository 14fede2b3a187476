//! A private PostgreSQL, in a temporary directory, on a free port.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;

/// How long it may take to start before the test is given up.
const HANGS: Duration = Duration::from_secs(60);

const MISSING: &str = "there is no PostgreSQL: install it (Debian: apt install postgresql)";

pub(super) struct Postgres {
    directory: TempDir,
    pub(super) port: u16,
    server: Mutex<Option<Child>>,
    databases: AtomicUsize,
}

impl Postgres {
    /// One that tests share; it ends with the last of them.
    pub(super) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock();
        shared.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Self::start());
            *shared = Arc::downgrade(&new);
            new
        })
    }

    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        if is_root() {
            let (user, group) = (id("-u"), id("-g"));
            chown(directory.path(), Some(user), Some(group))
                .expect("PostgreSQL does not run as root");
        }
        let data = directory.path().join("data");
        let output = command("initdb")
            .args(["--auth=trust", "--username=tidings", "--no-sync", "--encoding=UTF8", "-D"])
            .arg(&data)
            .output()
            .expect(MISSING);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb failed: {said}");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let new =
            Self { directory, port, server: Mutex::default(), databases: AtomicUsize::default() };
        new.resume();
        new
    }

    /// Starts it again.
    pub(super) fn resume(&self) {
        let directory = self.directory.path();
        let server = command("postgres")
            .arg("-D")
            .arg(directory.join("data"))
            .arg("-k")
            .arg(directory)
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "fsync=off", "-c", "max_connections=50"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect(MISSING);
        *self.server.lock() = Some(server);
        let begun = Instant::now();
        while !self.sql("postgres", "SELECT 1").0 {
            assert!(begun.elapsed() < HANGS, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it as a crash would: connections break, nothing is written down in peace.
    pub(super) fn crash(&self) {
        let Some(mut server) = self.server.lock().take() else { return };
        let pid = server.id().to_string();
        let killed = Command::new("kill").args(["-QUIT", &pid]).status();
        assert!(killed.is_ok_and(|status| status.success()), "PostgreSQL runs");
        server.wait().expect("it ends");
    }

    /// The URL of a new database.
    pub(super) fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        assert!(self.sql("postgres", &format!("CREATE DATABASE {name}")).0);
        self.url(&name)
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://tidings@127.0.0.1:{}/{database}", self.port)
    }

    /// Whether that worked, and what it printed.
    fn sql(&self, database: &str, text: &str) -> (bool, String) {
        let output = command("psql")
            .args([
                "-X",
                "-A",
                "-t",
                "-U",
                "tidings",
                "-h",
                "127.0.0.1",
                "-d",
                database,
                "-c",
                text,
            ])
            .args(["-p", &self.port.to_string()])
            .output()
            .expect(MISSING);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A program of PostgreSQL, as a user that it takes.
fn command(program: &str) -> Command {
    let path = find(program).expect(MISSING);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(path);
    command
}

/// On the PATH, or where Debian has it.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join(program));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin").join(program));
    debian.chain(on_path).find(|path| Path::is_file(path))
}

fn is_root() -> bool {
    number(Command::new("id").arg("-u")) == 0
}

/// A number of the user that Debian makes for PostgreSQL.
fn id(which: &str) -> u32 {
    number(Command::new("id").args([which, "postgres"]))
}

fn number(command: &mut Command) -> u32 {
    let output = command.output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect(MISSING)
}
