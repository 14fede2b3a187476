//! Events and requests.

use futures_util::StreamExt;
use futures_util::future::try_join;
use tidings::{Request, State, Subscription, Transport};

use crate::place::{Checked, Place, becomes, ensure, numbers};

/// What was published comes to those whose pattern matches, and is acknowledged.
pub(crate) async fn delivers(place: &Place) -> Checked {
    let (ann, ben) = try_join(place.connected(), place.connected()).await?;
    let mut created: Subscription<String> = ann.subscribe("orders.*.created").await?;
    let other = ben.publish("orders.eu.cancelled", "No. 16").await?;
    let position = ben.publish("orders.eu.created", "No. 17 für Zoë 🎉").await?;
    ensure(other != position, "two events were acknowledged alike")?;
    let order = created.next().await.ok_or("the subscription ended")??;
    ensure(order.value == "No. 17 für Zoë 🎉", order.value)?;
    ensure(&*order.meta.name == "orders.eu.created", order.meta.name.to_string())?;
    // More than fits into one message of polling, or one portion of anything.
    let large = "x".repeat(300_000);
    ben.publish("orders.us.created", &large).await?;
    let order = created.next().await.ok_or("the subscription ended")??;
    ensure(order.value == large, "the large event is not the one that was published")?;
    ann.close().await;
    ben.close().await;
    Ok(())
}

/// Requests are answered, in both directions.
pub(crate) async fn asks(place: &Place) -> Checked {
    let client = place.connected().await?;
    let echo: String = client.request("echo", "hello").await?;
    ensure(echo == "hello", echo)?;
    client.handle("question", |request: Request| async move {
        let number: u32 = request.value()?;
        Ok(number + 1)
    })?;
    let answer: u32 = client.request("ask me", &41).await?;
    ensure(answer == 42, answer.to_string())?;
    client.close().await;
    Ok(())
}

/// A client comes back to a server that was restarted, with its subscriptions, and publishes what
/// was published meanwhile.
pub(crate) async fn survives_a_restart(place: &Place) -> Checked {
    let client = place.connected().await?;
    let mut received: Subscription<u32> = client.subscribe("numbers.**").await?;
    for number in 0..20 {
        client.publish("numbers.all", &number).send()?;
    }
    numbers(&mut received, 0, 20).await?;
    let restarted = place.please("restart");
    let published = async {
        becomes(&client, State::Reconnecting).await?;
        let waiting: Vec<_> =
            (20..40).map(|number| client.publish("numbers.all", &number).into_future()).collect();
        for acknowledged in waiting {
            acknowledged.await?;
        }
        Ok(())
    };
    try_join(restarted, published).await?;
    // A stream tells of the restart first: what the old server had is not in the new one's log.
    let mut expected = 20;
    while expected < 40 {
        match received.next().await.ok_or("the subscription ended")? {
            Ok(event) => {
                ensure(event.value == expected, format!("{} came, not {expected}", event.value))?;
                expected += 1;
            }
            Err(tidings::error::EventError::Gap(_)) if expected == 20 => {}
            Err(error) => return Err(error.into()),
        }
    }
    client.close().await;
    Ok(())
}

/// The session goes on by another transport while events are on their way.
pub(crate) async fn switches(place: &Place) -> Checked {
    let client = place.connected().await?;
    let mut received: Subscription<u32> = client.subscribe("numbers.**").await?;
    let transports = [Transport::SocketIo, Transport::Ws, Transport::SocketIo, Transport::Ws];
    let mut next = 0;
    for transport in transports {
        for number in next..next + 50 {
            client.publish("numbers.all", &number).send()?;
        }
        let used = client.switch_transport(transport).await?;
        ensure(used == transport, format!("{used:?} is in use"))?;
        for number in next + 50..next + 100 {
            client.publish("numbers.all", &number).send()?;
        }
        numbers(&mut received, next, 100).await?;
        next += 100;
    }
    let status = client.status();
    ensure(status.transport == Some(Transport::Ws), format!("{status:?}"))?;
    client.close().await;
    Ok(())
}

/// Clients that are closed say goodbye, one after the other.
pub(crate) async fn leaves_nothing_open(place: &Place) -> Checked {
    for _ in 0..50 {
        let client = place.connected().await?;
        let subscription = client.subscribe_raw("numbers.**", None).await?;
        client.close().await;
        drop(subscription);
        ensure(client.status().state == State::Closed, "it is not closed")?;
    }
    Ok(())
}
