//! The client in a browser, and in Node: what `tests/browser` checks, against a server.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidings_tests::node;
use tidings_tests::server::Restartable;

const MODULE: &str = "tidings_browser_tests";
const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the module and its JavaScript, and tells where that is.
fn module() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Directories of their own: Cargo may be building in the usual one.
    let target = root.join("target/wasm");
    let wasm = target.join(TARGET).join("debug").join(MODULE).with_extension("wasm");
    let bindings = target.join("bindings");
    run(Command::new(root.join("tests/wasm-toolchain"))
        .args(["run", "cargo", "build", "--quiet", "--package", "tidings-browser-tests"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target)
        .current_dir(&root));
    run(Command::new("cargo")
        .args(["run", "--quiet", "--target-dir"])
        .arg(root.join("target/generator"))
        .args([Path::new("--"), &wasm, &bindings])
        .current_dir(root.join("bindings/generator")));
    std::fs::write(bindings.join("package.json"), r#"{"type": "module"}"#).unwrap();
    bindings.join(MODULE).with_extension("js")
}

fn run(command: &mut Command) {
    // What Cargo sets for tests is of the toolchain that builds those.
    let status = command.env_remove("LD_LIBRARY_PATH").status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{command:?}: {status:?}");
}

fn check(place: &str, module: &Path) {
    let mut server = Restartable::start();
    // Node 20 has WebSocket, but does not show it unasked.
    let arguments = ["browser/check.js", place, &server.url(), module.to_str().unwrap()];
    let said = node::converse("--experimental-websocket", &arguments, |request| match request {
        "restart" => server.restart(),
        other => panic!("nobody can {other:?}"),
    });
    let said = said.unwrap_or_else(|error| panic!("{error}"));
    println!("{place}\n{said}");
    assert!(said.ends_with("done\n"), "{said}");
}

#[test]
fn the_client_does_in_a_page_and_in_node_what_it_does_elsewhere() {
    let module = module();
    check("chromium", &module);
    check("node", &module);
}
