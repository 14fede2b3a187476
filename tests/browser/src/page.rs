//! What a page lives through.

use std::time::Duration;

use tidings::{State, Subscription};
use wasm_bindgen::JsCast;
use web_sys::{Event, EventTarget, PageTransitionEvent, PageTransitionEventInit};

use crate::place::{Checked, Place, becomes, ensure, numbers};

/// The browser says that the network is gone: nothing that is published meanwhile is missed, and
/// nothing comes twice.
pub(crate) async fn recovers_what_it_missed(place: &Place) -> Checked {
    let (ann, ben) = (place.connected().await?, place.connected().await?);
    let mut received: Subscription<u32> = ann.subscribe("numbers.**").await?;
    for round in 0..5 {
        let first = round * 40;
        for number in first..first + 20 {
            ben.publish("numbers.all", &number).send()?;
        }
        tell(&event("offline")?)?;
        becomes(&ann, State::Reconnecting).await?;
        for number in first + 20..first + 40 {
            ben.publish("numbers.all", &number).send()?;
        }
        numbers(&mut received, first, 40).await?;
    }
    ann.close().await;
    ben.close().await;
    Ok(())
}

/// A client that would wait long for its next attempt makes it when there is a network again, or
/// the page comes back from where the browser had put it.
pub(crate) async fn comes_back_at_once(place: &Place) -> Checked {
    let day = Duration::from_secs(24 * 60 * 60);
    let client = place.client().backoff(day, day).build()?;
    client.connected().await?;
    let put_away = PageTransitionEventInit::new();
    put_away.set_persisted(true);
    let put_away = |name: &str| {
        PageTransitionEvent::new_with_event_init_dict(name, &put_away)
            .map_err(|error| format!("{error:?}"))
    };
    let ways = [
        (event("offline")?, event("online")?),
        (put_away("pagehide")?.into(), put_away("pageshow")?.into()),
    ];
    for (goes, comes) in ways {
        tell(&goes)?;
        becomes(&client, State::Reconnecting).await?;
        let waits = client.status().next_attempt.is_some();
        ensure(waits, "it does not wait for the next attempt")?;
        tell(&comes)?;
        becomes(&client, State::Connected).await?;
    }
    client.close().await;
    Ok(())
}

fn event(name: &str) -> Checked<Event> {
    Ok(Event::new(name).map_err(|error| format!("{error:?}"))?)
}

/// Has the page hear of it.
fn tell(event: &Event) -> Checked {
    let page: EventTarget = js_sys::global().unchecked_into();
    page.dispatch_event(event).map_err(|error| format!("{error:?}"))?;
    Ok(())
}
