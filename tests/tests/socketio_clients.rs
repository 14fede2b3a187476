//! Unmodified Socket.IO clients against the server: every supported line of `socket.io-client`,
//! over every transport.

use tidings_tests::server::Restartable;
use tidings_tests::{app, node};

/// How a client connects: its transports, and its parser.
const MODES: [(&str, &str); 4] = [
    ("default", "default"),
    ("websocket", "default"),
    ("polling", "default"),
    ("default", "msgpack"),
];

/// Has a script check one version of the client in every mode, each against a server of its own.
fn check(script: &str, library: &str, start: fn() -> Restartable) {
    for (transports, parser) in MODES {
        let mut server = start();
        let url = server.url();
        let arguments = [url.as_str(), library, transports, parser];
        let said = node::converse(script, &arguments, |request| match request {
            "restart" => server.restart(),
            other => panic!("nobody can {other:?}"),
        });
        let said = said.unwrap_or_else(|error| panic!("{error}"));
        println!("{library}, {transports}, {parser}\n{said}");
        assert!(said.ends_with("done\n"), "{said}");
    }
}

#[test]
fn events_reach_clients_of_4_0() {
    check("bus.js", "socket.io-client-4.0", Restartable::start);
}

#[test]
fn events_reach_clients_of_4_5() {
    check("bus.js", "socket.io-client-4.5", Restartable::start);
}

#[test]
fn events_reach_the_newest_clients() {
    check("bus.js", "socket.io-client", Restartable::start);
}

fn application() -> Restartable {
    Restartable::with(app::add)
}

#[test]
fn applications_serve_clients_of_4_0() {
    check("app.js", "socket.io-client-4.0", application);
}

#[test]
fn applications_serve_clients_of_4_5() {
    check("app.js", "socket.io-client-4.5", application);
}

#[test]
fn applications_serve_the_newest_clients() {
    check("app.js", "socket.io-client", application);
}

#[test]
fn types_describe_what_works() {
    // Fails on any mistake in the types; what it writes is the script without them.
    node::program("tsc", &["--project", "."]).unwrap_or_else(|error| panic!("{error}"));
    let server = Restartable::start();
    let script = "node_modules/.typed/typed.mjs";
    let said = node::converse(script, &[&server.url()], |request| panic!("{request:?}?"));
    assert_eq!(said.as_deref(), Ok("done\n"));
}
