//! What each kind of attacker does.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::spawn_local;
use tokio::time::Interval;

use super::bytes;
use super::connection::{Connection, Target};
use super::tally::add;
use super::ticks;
use crate::scenario::AttackKind;

/// How long the server is waited for, when it may well not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often publishes of a flood are written: many with one write.
const PORTION: Duration = Duration::from_millis(20);

/// Between the bytes of those that dribble.
const DRIBBLE: Duration = Duration::from_secs(1);

/// One attacker, who makes an attempt each `pace`, until the runtime ends.
pub(super) async fn attack(kind: AttackKind, target: Target, attacker: usize, pace: Duration) {
    let ticks = ticks(pace);
    match kind {
        AttackKind::Connections => connections(&target, ticks).await,
        AttackKind::Publishes => publishes(&target, attacker, pace).await,
        AttackKind::Giants => in_turns(&target, ticks, bytes::giants(target.named)).await,
        AttackKind::Malformed => in_turns(&target, ticks, bytes::malformed(target.named)).await,
        AttackKind::SlowReaders => slow_readers(&target, ticks).await,
        AttackKind::HalfOpen => half_open(&target, ticks).await,
        AttackKind::Tokens => tokens(&target, attacker, ticks).await,
        AttackKind::Subscriptions => subscriptions(&target, ticks).await,
    }
}

async fn attempt(target: &Target, ticks: &mut Interval) {
    ticks.tick().await;
    add(&target.tally.attempts, 1);
}

async fn connections(target: &Target, mut ticks: Interval) {
    loop {
        attempt(target, &mut ticks).await;
        let target = target.clone();
        spawn_local(async move {
            if let Some(connection) = target.open_session(false, bytes::HELLO).await {
                connection.listen().await;
            }
        });
    }
}

async fn publishes(target: &Target, attacker: usize, pace: Duration) {
    let each = (PORTION.as_secs_f64() / pace.as_secs_f64()).ceil().max(1.0) as u64;
    let mut ticks = ticks(pace * u32::try_from(each).unwrap_or(u32::MAX));
    let mut seq = 0;
    loop {
        ticks.tick().await;
        let Some(connection) = target.open_session(false, bytes::HELLO).await else { continue };
        let (mut writer, listening) = connection.split();
        let listening = spawn_local(listening);
        while !listening.is_finished() {
            ticks.tick().await;
            let mut portion = Vec::new();
            for _ in 0..each {
                seq += 1;
                let publish = format!(r#"["pub",{seq},"hostile.{attacker}",{{"n":{seq}}}]"#);
                portion.extend(bytes::text(&publish));
            }
            add(&target.tally.attempts, each);
            if writer.write_all(&portion).await.is_err() {
                break;
            }
            add(&target.tally.bytes, portion.len() as u64);
        }
    }
}

/// Each on a connection of its own, which ends when the server ends it.
async fn in_turns(target: &Target, mut ticks: Interval, all: Vec<Vec<u8>>) {
    let all: Vec<Rc<[u8]>> = all.into_iter().map(Rc::from).collect();
    for bytes in all.iter().cycle() {
        attempt(target, &mut ticks).await;
        let (target, bytes) = (target.clone(), Rc::clone(bytes));
        spawn_local(async move {
            if let Some(connection) = target.open().await {
                connection.tell(&bytes, PATIENCE).await;
            }
        });
    }
}

async fn slow_readers(target: &Target, mut ticks: Interval) {
    loop {
        attempt(target, &mut ticks).await;
        let target = target.clone();
        spawn_local(async move {
            let Some(mut connection) = target.open_session(true, bytes::HELLO_ALL).await else {
                return;
            };
            let pong = bytes::text(bytes::PONG);
            // Pings are answered unread: for the server it is alive.
            while connection.write(&pong).await.is_some() {
                tokio::time::sleep(DRIBBLE).await;
            }
        });
    }
}

async fn half_open(target: &Target, mut ticks: Interval) {
    for ending in [Silence::AtOnce, Silence::InHeader, Silence::BeforeHello, Silence::AfterHello]
        .into_iter()
        .cycle()
    {
        attempt(target, &mut ticks).await;
        let target = target.clone();
        spawn_local(async move { fall_silent(&target, ending).await });
    }
}

/// When somebody falls silent.
#[derive(Clone, Copy)]
enum Silence {
    AtOnce,
    InHeader,
    BeforeHello,
    AfterHello,
}

async fn fall_silent(target: &Target, silence: Silence) -> Option<()> {
    let upgrade = bytes::upgrade(target.named, "/ws");
    match silence {
        Silence::AtOnce => target.open().await?.listen().await,
        Silence::InHeader => dribble(target.open().await?, upgrade.as_bytes()).await,
        Silence::BeforeHello => {
            let mut connection = target.open().await?;
            connection.write(upgrade.as_bytes()).await?;
            connection.listen().await;
        }
        // Heartbeats are not answered.
        Silence::AfterHello => target.open_session(false, bytes::HELLO).await?.listen().await,
    }
    Some(())
}

async fn dribble(connection: Connection, bytes: &[u8]) {
    let (mut writer, listening) = connection.split();
    let writing = async {
        for byte in bytes {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(DRIBBLE).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = writing => {}
        () = listening => {}
    }
}

async fn tokens(target: &Target, attacker: usize, mut ticks: Interval) {
    for number in 0_u64.. {
        attempt(target, &mut ticks).await;
        // Signed with HS256, by another secret each time as far as the server can tell.
        let token = format!(
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiIsImFkbWluIjp0cnVlfQ.{attacker:021}{number:021}A"
        );
        let target = target.clone();
        spawn_local(async move { guess(&target, &token, number.is_multiple_of(2)).await });
    }
}

async fn guess(target: &Target, token: &str, by_http: bool) -> Option<()> {
    if by_http {
        let mut connection = target.open().await?;
        connection.write(bytes::bearer(target.named, token).as_bytes()).await?;
        connection.head().await;
    } else {
        let hello = format!(r#"["hello",{{"v":1,"producer":"hostile","token":"{token}"}}]"#);
        target.open_session(false, &hello).await?.listen().await;
    }
    Some(())
}

async fn subscriptions(target: &Target, mut ticks: Interval) {
    let mut number = 0;
    loop {
        let Some(connection) = target.open_session(false, bytes::HELLO).await else {
            attempt(target, &mut ticks).await;
            continue;
        };
        let (mut writer, listening) = connection.split();
        let listening = spawn_local(listening);
        while !listening.is_finished() {
            attempt(target, &mut ticks).await;
            number += 1;
            let subscription = bytes::text(&bytes::costly_subscription(number));
            if writer.write_all(&subscription).await.is_err() {
                break;
            }
            add(&target.tally.bytes, subscription.len() as u64);
        }
    }
}
