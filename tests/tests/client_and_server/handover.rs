//! One client goes on where another one was, or carries it.

use std::collections::HashMap;
use std::task::{Context, Poll};

use futures_util::{FutureExt, StreamExt};
use tidings::error::{EventError, PublishError, RequestError};
use tidings::relay::{Command, Notice, Recipients, Relay, SubId};
use tidings::{Close, Cursor, Identity, Status};
use tokio::sync::mpsc;

use super::*;

/// A publish that comes again by another client, over another transport, is the same one.
#[tokio::test]
async fn publishes_with_the_same_identity_have_one_effect() {
    let running = server().await;
    let clients = [
        connect(&running.url(), Transport::Ws).await,
        connect(&running.url(), Transport::SocketIo).await,
    ];
    let mut received = within(clients[0].subscribe::<u64>("numbers.**")).await.unwrap();
    for number in 1..=50 {
        let publish = |client: &Client| {
            let identity = Identity::new("an outbox that nobody guesses", number).unwrap();
            client.publish("numbers.all", &number).identity(identity).into_future()
        };
        let (first, again) = (publish(&clients[0]), publish(&clients[1]));
        let (first, again) = (within(first).await.unwrap(), within(again).await.unwrap());
        assert_eq!(first, again);
    }
    within(clients[0].publish("numbers.all", &51)).await.unwrap();
    for number in 1..=51 {
        assert_eq!(within(received.next()).await.unwrap().unwrap().value, number);
    }
    assert_eq!(Identity::new("", 1).or(Identity::new("p", 0)).or(Identity::new("a\nb", 1)), None);
}

/// Whoever subscribes after the cursor of a subscription gets what that one was not given: in the
/// middle of what is new, and in the middle of the past, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_goes_on_with_another_client() {
    const COUNT: u32 = 3_000;
    let running = server().await;
    let publisher = connect(&running.url(), Transport::Ws).await;
    let names = ["rooms.a", "halls.b", "yards.c", "roofs.d"];
    let lanes = names.map(|name| {
        let partition = tidings_core::Partitioning::new(16).of_name(name);
        tidings::Lane::new(partition, Priority::Normal)
    });
    let other = lanes.iter().position(|lane| *lane != lanes[0]).expect("they are not all alike");
    let (names, lanes) = ([names[0], names[other]], [lanes[0], lanes[other]]);
    let publishing = tokio::spawn(async move {
        for number in 0..COUNT {
            let name = names[number as usize % 2];
            let published = publisher.publish(name, &(number / 2)).into_future();
            if number % 20 == 0 {
                published.await.unwrap();
            }
        }
        publisher.close().await;
    });
    let mut cursor: Cursor =
        lanes.map(|lane| (lane, tidings_core::Place::default())).into_iter().collect();
    let mut kept: Vec<(Position, u32)> = Vec::new();
    let mut rounds = 0;
    while kept.len() < COUNT as usize {
        let client = connect(&running.url(), BOTH[rounds % 2]).await;
        let mut given = within(client.subscribe_raw("**", Some(cursor))).await.unwrap();
        let enough = (rounds * 37 % 120).min(COUNT as usize - kept.len());
        let mut taken = Vec::new();
        while taken.len() < enough {
            taken.push(within(given.next()).await.unwrap().unwrap());
        }
        cursor = within(given.cursor()).await.expect("the server has it");
        // What is in the buffer was given; what has come since it was told comes again, to the next.
        while let Some(Some(more)) = given.next().now_or_never() {
            taken.push(more.unwrap());
        }
        kept.extend(taken.iter().filter_map(|delivery| {
            let place = delivery.position.expect("it is in the log");
            let reached = cursor.get(place.lane)?;
            let number = std::str::from_utf8(delivery.event.payload.bytes()).unwrap();
            (place.offset <= reached.offset).then(|| (place, number.parse().unwrap()))
        }));
        client.close().await;
        rounds += 1;
    }
    publishing.await.unwrap();
    for (lane, expected) in lanes.into_iter().zip([COUNT.div_ceil(2), COUNT / 2]) {
        let numbers: Vec<u32> = kept.iter().filter(|(p, _)| p.lane == lane).map(|k| k.1).collect();
        let odd = numbers.iter().zip(0..).find(|(number, expected)| *number != expected);
        assert_eq!(odd, None, "after {rounds} rounds");
        assert_eq!(numbers.len(), expected as usize, "after {rounds} rounds");
    }
    assert!(rounds > 5, "it was carried on {rounds} times only");
}

/// Carries a client by another one, as tabs of a browser do.
struct Through {
    client: Client,
    tell: mpsc::UnboundedSender<Notice>,
    told: mpsc::UnboundedReceiver<Notice>,
    subscribed: HashMap<SubId, tokio::task::JoinHandle<()>>,
}

impl Through {
    fn new(client: Client) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Self { client, tell, told, subscribed: HashMap::new() }
    }

    /// Tells what `task` says.
    fn tell(&self, task: impl Future<Output = Notice> + Send + 'static) {
        let tell = self.tell.clone();
        tokio::spawn(async move { drop(tell.send(task.await)) });
    }
}

impl Relay for Through {
    fn command(&mut self, command: Command) {
        let client = self.client.clone();
        match command {
            Command::Connect => self.tell(async move { Notice::Status(client.status()) }),
            Command::Publish { ticket, publish, .. } => {
                let published = client.publish_raw(publish.name, publish.payload).into_future();
                self.tell(async move {
                    let result = match published.await {
                        Ok(position) => Ok(Some(position)),
                        Err(PublishError::Client(error)) => Err(error),
                        Err(error) => panic!("{error}"),
                    };
                    Notice::Published { ticket, result }
                });
            }
            Command::Subscribe(subscribe) => {
                let (id, tell) = (subscribe.id, self.tell.clone());
                let task = tokio::spawn(async move {
                    let mut events =
                        client.subscribe_raw(subscribe.pattern, subscribe.since).await.unwrap();
                    let cursor = events.cursor().await.unwrap();
                    drop(tell.send(Notice::Subscribed { id, cursor }));
                    while let Some(Ok(delivery)) = events.next().await {
                        let to = Recipients::One(id);
                        drop(tell.send(Notice::Event { delivery, to }));
                    }
                });
                self.subscribed.insert(id, task);
            }
            Command::Unsubscribe(id) => {
                if let Some(task) = self.subscribed.remove(&id) {
                    task.abort();
                }
            }
            Command::Request { ticket, name, payload, .. } => {
                let number: u32 = serde_json::from_slice(payload.bytes()).unwrap_or_default();
                self.tell(async move {
                    let result = match client.request::<u32>(name, &number).await {
                        Ok(reply) => Ok(Payload::Json(reply.to_string().into())),
                        Err(RequestError::Client(error)) => Err(error),
                        Err(error) => panic!("{error}"),
                    };
                    Notice::Reply { ticket, result }
                });
            }
            Command::Close { .. } => {
                let close = Close::new(tidings::CloseCode::NORMAL, "closed by the application");
                let status = Status {
                    state: State::Closed,
                    code: close.code,
                    reason: close.reason.into(),
                    ..Status::starting()
                };
                drop(self.tell.send(Notice::Status(status)));
            }
            other => panic!("nobody has asked for {other:?}"),
        }
    }

    fn handles(&mut self, _: &str, _: bool) {}

    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<Notice> {
        self.told.poll_recv(cx).map(|notice| notice.expect("the sender is here, too"))
    }
}

/// A client that another one carries does what any does, and leaves that one open.
#[tokio::test]
async fn a_client_is_carried_by_another_one() {
    let running = Running::start(ANY.parse().unwrap(), |server| {
        server.handle(
            "double",
            |request: Request| async move { reply(&(request.json::<u32>()? * 2)) },
        );
    })
    .await;
    let carrier = connect(&running.url(), Transport::Ws).await;
    let relay = Through::new(carrier.clone());
    let client = Client::builder("http://elsewhere").build_relayed(relay).unwrap();
    within(client.connected()).await.unwrap();
    let mut received = within(client.subscribe::<u32>("numbers.*")).await.unwrap();
    for number in 0..100 {
        within(client.publish("numbers.all", &number)).await.unwrap();
    }
    for number in 0..100 {
        assert_eq!(within(received.next()).await.unwrap().unwrap().value, number);
    }
    let doubled: u32 = within(client.request("double", &21)).await.unwrap();
    assert_eq!(doubled, 42);
    let refused = within(client.request::<()>("unheard of", &())).await.unwrap_err();
    assert_eq!(refused.advice(), tidings::Advice::GiveUp, "{refused}");
    within(client.close()).await;
    let end = within(received.next()).await.unwrap().unwrap_err();
    assert!(matches!(end, EventError::Closed(_)), "{end}");
    assert_eq!(carrier.status().state, State::Connected);
}
