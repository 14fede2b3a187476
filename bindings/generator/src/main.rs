//! Makes JavaScript of what a module for browsers exports.

use std::env;
use std::process::ExitCode;

use wasm_bindgen_cli_support::{Bindgen, EncodeInto};

const USAGE: &str = "\
usage: tidings-bindings-generator MODULE.wasm DIRECTORY [--no-path]
  --no-path   whoever loads the module says where it is: the JavaScript does not look beside itself";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (module, directory, no_path) = match arguments.as_slice() {
        [module, directory] => (module, directory, false),
        [module, directory, flag] if flag == "--no-path" => (module, directory, true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).omit_default_module_path(no_path);
    // Whatever runs WebAssembly has it.
    bindgen.encode_into(EncodeInto::Always);
    let made = bindgen.web(true).and_then(|bindgen| bindgen.typescript(true).generate(directory));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{module}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
