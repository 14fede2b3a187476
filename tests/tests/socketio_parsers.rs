//! The vectors that Tidings' parsers are tested with, against the parsers of the Socket.IO project.

#[test]
fn the_vectors_are_what_node_writes_and_reads() {
    let output = tidings_tests::node::run("vectors.js").unwrap_or_else(|error| panic!("{error}"));
    assert!(output.trim_end().ends_with("checks passed"), "{output}");
}

#[test]
fn what_nodes_adapters_publish_is_in_the_vectors() {
    let written = tidings_tests::node::run("cluster/vectors.js");
    let written = written.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(written, include_str!("../vectors/node-adapter.json"));
}
