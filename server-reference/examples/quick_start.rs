//! A server that answers requests named `sum`.

use tidings_server::{Config, Request, Server, reply};

#[tokio::main]
async fn main() -> Result<(), tidings_server::ServerError> {
    let server = Server::builder().config(Config::default()).bind().await?;
    server.handle("sum", |request: Request| async move {
        let numbers: Vec<i64> = request.json()?;
        reply(&numbers.iter().sum::<i64>())
    });
    println!("listening on http://{}", server.local_addr());
    server.serve(async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}
