//! A server for scripts that test: says where it is, and does what each line of its input says
//! (`stop`, `start`, `restart`), answering `done`. It ends with its input.

use std::io::BufRead;

use tidings_tests::server::Restartable;

fn main() {
    let mut server = Restartable::start();
    println!("{}", server.url());
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.as_str() {
            "stop" => server.stop(),
            "start" => server.resume(),
            "restart" => server.restart(),
            other => panic!("say stop, start or restart, not {other:?}"),
        }
        println!("done");
    }
}
