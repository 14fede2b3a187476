//! The load harness. See [`tidings_harness`].

fn main() -> std::process::ExitCode {
    tidings_harness::cli::main()
}
