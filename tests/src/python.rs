//! Python packages that tests need, in a virtual environment of their own.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use crate::example;

/// What is installed, with the versions that are known to do.
const PACKAGES: [&str; 3] =
    ["kubernetes-validate==1.37.0", "prometheus-client==0.26.0", "schemathesis==4.32.5"];

/// A program of the environment, such as `python`. The environment is made first if it is not
/// there.
///
/// # Errors
/// Says what to install when Python is missing, or what went wrong.
pub fn program(name: &str) -> Result<Command, String> {
    let environment: PathBuf = example::root().join("target/python");
    let installed = environment.join(PACKAGES.join("+"));
    std::fs::create_dir_all(&environment).map_err(|error| error.to_string())?;
    let lock = File::create(environment.join(".lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if !installed.exists() {
        eprintln!("installing {PACKAGES:?} into target/python");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let pip = environment.join("bin/pip");
        run(Command::new(pip).args(["install", "--quiet"]).args(PACKAGES))?;
        File::create(installed).map_err(|error| error.to_string())?;
    }
    Ok(Command::new(environment.join("bin").join(name)))
}

/// Runs a command to its end and returns what it wrote to its standard output.
///
/// # Errors
/// What it complained about.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| {
        format!(
            "cannot run {command:?}: {error}; install Python 3 with venv, for example by `apt \
             install python3-venv`"
        )
    })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let complaints = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} ended with {}\n{said}{complaints}", output.status))
}
