//! A first client: subscribes, publishes, receives. Needs a server, see the README.
//!
//! `cargo run -p tidings --example quick_start_client [URL]`

// README: quick start
use futures_util::StreamExt;
use tidings::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("http://127.0.0.1:9000".into());
    let client = Client::builder(url).build()?;
    let mut orders = client.subscribe::<String>("orders.*.created").await?;
    let position = client.publish("orders.eu.created", "No. 17").await?;
    let order = orders.next().await.ok_or("the client was closed")??;
    println!("{} is {} at {:?}", order.meta.name, order.value, position.offset);
    client.close().await;
    Ok(())
}
// README: end
