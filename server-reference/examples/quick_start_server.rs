//! A first server: a service that hears and emits events, and an answer to requests.
//!
//! `cargo run -p tidings-server --example quick_start_server [IP:PORT]`

// README: quick start
use tidings_server::{Config, Request, Server, reply};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:9000".into()).parse()?;
    let server = Server::builder().config(Config::default().listen(listen)).bind().await?;
    let bus = server.bus().clone(); // all that a service ever sees
    let receipts = server.bus().on("orders.*.created", move |order| {
        let receipt = bus.event("receipts.sent", order.payload.clone());
        bus.emit(&receipt.expect("a valid name"));
    })?;
    server.handle("sum", |request: Request| async move {
        reply(&request.json::<Vec<i64>>()?.iter().sum::<i64>())
    });
    println!("listening on http://{}", server.local_addr());
    server.serve(async { drop(tokio::signal::ctrl_c().await) }).await;
    receipts.off();
    Ok(())
}
// README: end
