//! Running scripts in tests/node with the npm packages they need.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Runs a script in tests/node to its end and returns what it wrote to its standard output.
///
/// The packages named in tests/node/package.json are installed first if they are not there.
///
/// # Errors
/// Says what to install when Node is missing, or what the script complained about.
pub fn run(script: &str) -> Result<String, String> {
    converse(script, &[], |request| panic!("nobody does {request:?} for {script}"))
}

/// Runs a script with arguments to its end and returns what it wrote to its standard output. When
/// it writes `please ` and a request on a line of its own, `serve` is called with the request, and
/// the script is told when that is done.
///
/// # Errors
/// As [`run`].
pub fn converse(
    script: &str,
    arguments: &[&str],
    serve: impl FnMut(&str),
) -> Result<String, String> {
    installed()?;
    talk(Command::new("node").arg(script).args(arguments), serve)
}

/// A script that is to be run by itself, such as a server.
///
/// # Errors
/// As [`run`].
pub fn script(script: &str) -> Result<Command, String> {
    installed()?;
    let mut command = Command::new("node");
    command.arg(script).current_dir(directory());
    Ok(command)
}

/// Runs a program of one of the npm packages, such as `tsc`, and returns what it wrote to its
/// standard output.
///
/// # Errors
/// As [`run`].
pub fn program(name: &str, arguments: &[&str]) -> Result<String, String> {
    installed()?;
    let program = directory().join("node_modules/.bin").join(name);
    talk(Command::new(program).args(arguments), |_| {})
}

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
}

/// Installs the packages once.
pub(crate) fn installed() -> Result<(), String> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    INSTALLED.get_or_init(install).clone()
}

/// Installs the packages, unless that was done since package.json was last changed. A lock keeps
/// test processes that run at the same time from installing over each other.
fn install() -> Result<(), String> {
    let lock = std::fs::File::create(directory().join(".install-lock"));
    let lock = lock.map_err(|error| format!("cannot write to tests/node: {error}"))?;
    lock.lock().map_err(|error| format!("cannot lock tests/node: {error}"))?;
    let changed = |file: &str| std::fs::metadata(directory().join(file)).and_then(|m| m.modified());
    match (changed("package.json"), changed("node_modules/.package-lock.json")) {
        (Ok(wanted), Ok(installed)) if wanted <= installed => Ok(()),
        _ => {
            eprintln!("installing the npm packages of tests/node");
            let arguments = ["install", "--no-package-lock", "--no-audit", "--no-fund"];
            talk(Command::new("npm").args(arguments), |_| {}).map(drop)
        }
    }
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself, unless the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn talk(command: &mut Command, mut serve: impl FnMut(&str)) -> Result<String, String> {
    let command = command.current_dir(directory()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.stderr(Stdio::piped()).spawn().map_err(|error| {
        format!(
            "cannot run {command:?}: {error}; install Node 20 or later with npm, for example by \
             `apt install nodejs npm`"
        )
    })?;
    let mut running = Running(child);
    let child = &mut running.0;
    let failed = |error: std::io::Error| format!("cannot talk with {command:?}: {error}");
    let complaints = child.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut text = String::new();
            // What cannot be read is not there to be told.
            let _ = stderr.read_to_string(&mut text);
            text
        })
    });
    let mut stdin = child.stdin.take();
    let mut said = String::new();
    for line in child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        let line = line.map_err(failed)?;
        if let Some(request) = line.strip_prefix("please ") {
            serve(request);
            stdin.as_mut().map_or(Ok(()), |stdin| writeln!(stdin, "done")).map_err(failed)?;
        }
        said += &line;
        said.push('\n');
    }
    drop(stdin);
    let status = child.wait().map_err(failed)?;
    let complaints = complaints.and_then(|reader| reader.join().ok()).unwrap_or_default();
    if status.success() {
        Ok(said)
    } else {
        Err(format!("{command:?} ended with {status}\n{said}{complaints}"))
    }
}
