//! From one transport to the other.

use super::*;

fn switch(world: &mut World, transport: Transport) -> Ticket {
    world.next_ticket += 1;
    let ticket = Ticket(world.next_ticket);
    world.command(Command::Switch { ticket, transport });
    ticket
}

fn switched(world: &mut World) -> Vec<(Ticket, Result<Transport, SwitchError>)> {
    let switched = world.told().into_iter().filter_map(|notice| match notice {
        Notice::Switched { ticket, result } => Some((ticket, result)),
        _ => None,
    });
    switched.collect()
}

#[test]
fn the_old_connection_is_used_until_the_new_one_is_welcomed() {
    let (mut world, old) = World::connected(config());
    world.subscribed(old, 1, "a.*", 5);
    let ticket = switch(&mut world, Transport::SocketIo);
    let new = world.accept();
    let hello = world.hello();
    assert_eq!((hello.session.as_deref(), hello.cursor), (Some("session"), at(5)));
    world.publish("b", Priority::Normal);
    assert!(matches!(&world.heard[..], [(io, ClientMessage::Publish(_))] if *io == old));
    world.hear();
    world.told();
    world.say(old, event("a.b", 6));
    assert_eq!(world.events().len(), 1);
    world.welcome(new, true, at(6));
    assert_eq!(world.publishes_heard(), [(1, "b".into())], "sent again on the new one");
    assert_eq!(switched(&mut world), [(ticket, Ok(Transport::SocketIo))]);
    assert_eq!(world.machine.status().transport, Some(Transport::SocketIo));
    assert_eq!(world.closed[0].0, old);
    world.say(new, event("a.b", 6));
    world.say(new, event("a.b", 7));
    world.ack(new, 1);
    let told = world.told();
    assert_eq!(told.len(), 2, "one event and one acknowledgement: {told:?}");
    let counters = world.machine.stats().counters;
    assert_eq!((counters.switches, counters.reconnects, counters.recovered), (1, 0, 0));
}

#[test]
fn volatile_events_that_come_by_both_connections_are_delivered_once() {
    let (mut world, old) = World::connected(config());
    world.subscribed(old, 1, "a.*", 5);
    world.told();
    let volatile = || {
        let ServerMessage::Event(delivery) = event("a.b", 6) else { unreachable!() };
        ServerMessage::Event(Delivery { position: None, ..delivery })
    };
    switch(&mut world, Transport::SocketIo);
    world.say(old, volatile());
    assert_eq!(world.events().len(), 1, "the server knows of no other connection yet");
    let new = world.accept();
    world.say(old, volatile());
    world.welcome(new, true, at(5));
    world.say(new, volatile());
    world.say(old, volatile());
    assert_eq!(world.events().len(), 1);
}

#[test]
fn a_subscription_does_not_begin_before_what_the_old_connection_has_brought() {
    let (mut world, old) = World::connected(config());
    world.subscribed(old, 1, "a.*", 5);
    switch(&mut world, Transport::SocketIo);
    let new = world.accept();
    world.say(old, event("a.b", 6));
    world.welcome(new, true, at(5));
    world.told();
    world.subscribed(new, 2, "*.b", 5);
    world.say(new, event("a.b", 6));
    world.say(new, event("a.b", 7));
    let told = world.told();
    let [Notice::Subscribed { cursor, .. }, Notice::Event { to, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(*cursor, at(6), "event 6 does not come again");
    assert_eq!(to.as_slice().len(), 2);
}

#[test]
fn replies_still_to_come_keep_the_old_connection_for_a_while() {
    let (mut world, old) = World::connected(config());
    let ask = |world: &mut World, ticket| {
        let (name, payload) = ("ask".into(), Payload::NULL);
        world.command(Command::Request { ticket, name, payload, timeout: None });
    };
    ask(&mut world, Ticket(100));
    switch(&mut world, Transport::SocketIo);
    let new = world.accept();
    world.publish("b", Priority::Normal);
    world.welcome(new, true, Cursor::new());
    world.told();
    assert_eq!(world.closed, []);
    let refusal = Refusal::new(ErrorCode::UNAVAILABLE, "moved");
    world.say(old, ServerMessage::PublishRefused { seq: 1, refusal });
    assert_eq!(world.told(), [], "the answer that counts is the one on the new connection");
    world.subscribed(new, 1, "b", 0);
    world.told();
    world.say(old, event("a", 2));
    world.say(new, event("b", 1));
    assert_eq!(world.events().len(), 1, "the old connection does not know of the subscription");
    world.say(old, ServerMessage::Reply { id: RequestId(1), result: Ok(Payload::NULL) });
    assert!(matches!(&world.told()[..], [Notice::Reply { result: Ok(_), .. }]));
    assert_eq!(world.closed[0].0, old);

    ask(&mut world, Ticket(101));
    switch(&mut world, Transport::Ws);
    let newest = world.accept();
    world.welcome(newest, true, Cursor::new());
    world.told();
    world.pass(config().switch_linger);
    assert_eq!(world.closed[1].0, new);
    let told = world.told();
    assert!(
        matches!(&told[..], [Notice::Reply { result: Err(RequestError::Disconnected(_)), .. }]),
        "{told:?}"
    );
}

#[test]
fn the_hello_waits_for_subscriptions_under_way_and_later_ones_wait_for_it() {
    let (mut world, old) = World::connected(config());
    world.subscribe(1, "a.*");
    switch(&mut world, Transport::SocketIo);
    world.hear();
    let new = world.accept();
    assert_eq!(world.hear(), [], "the first is not answered yet");
    world.subscribe(2, "b.*");
    assert_eq!(world.hear(), [], "and the second would come too late for the hello");
    world.say(old, ServerMessage::Subscribed { id: SubId(1), cursor: at(5) });
    assert_eq!(world.hello().subscriptions.len(), 1);
    world.welcome(new, true, at(5));
    let heard = world.hear();
    assert!(
        matches!(&heard[..], [ClientMessage::Subscribe(Subscribe { id: SubId(2), .. })]),
        "{heard:?}"
    );
}

#[test]
fn a_switch_that_fails_changes_nothing() {
    let (mut world, old) = World::connected(config());
    let ticket = switch(&mut world, Transport::SocketIo);
    world.refuse();
    let result = switched(&mut world);
    assert!(matches!(&result[..], [(t, Err(SwitchError::Failed(_)))] if *t == ticket));
    assert_eq!(world.state(), State::Connected);
    assert_eq!(world.machine.status().transport, Some(Transport::Ws));
    switch(&mut world, Transport::SocketIo);
    world.pass(config().connect_timeout);
    assert!(matches!(&switched(&mut world)[..], [(_, Err(SwitchError::Failed(_)))]));
    world.say(old, event("a", 1));
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn when_the_old_connection_breaks_the_new_one_is_all_there_is() {
    let (mut world, old) = World::connected(config());
    let ticket = switch(&mut world, Transport::SocketIo);
    world.cut(old);
    assert_eq!(world.state(), State::Reconnecting);
    let new = world.accept();
    world.welcome(new, true, Cursor::new());
    assert_eq!(switched(&mut world), [(ticket, Ok(Transport::SocketIo))]);
    assert_eq!(world.state(), State::Connected);

    let ticket = switch(&mut world, Transport::Ws);
    let newer = world.accept();
    world.cut(new);
    world.cut(newer);
    let result = switched(&mut world);
    assert!(matches!(&result[..], [(t, Err(SwitchError::Failed(_)))] if *t == ticket));
}

#[test]
fn a_hello_that_waited_is_said_when_the_old_connection_breaks() {
    let (mut world, old) = World::connected(config());
    world.subscribe(1, "a.*");
    switch(&mut world, Transport::SocketIo);
    let new = world.accept();
    world.hear();
    world.cut(old);
    world.hello();
    world.welcome(new, true, Cursor::new());
    assert!(matches!(&world.hear()[..], [ClientMessage::Subscribe(_)]));
}

#[test]
fn what_is_in_use_already_needs_no_switch() {
    let (mut world, _) = World::connected(config());
    for transport in [Transport::Ws, Transport::Auto] {
        let ticket = switch(&mut world, transport);
        assert_eq!(switched(&mut world), [(ticket, Ok(Transport::Ws))]);
    }
    assert_eq!(world.opening, []);
}

#[test]
fn without_a_connection_the_next_one_is_of_the_other_transport() {
    let mut world = World::new(config());
    let ticket = switch(&mut world, Transport::SocketIo);
    assert_eq!(world.closed.len(), 1, "the attempt under way is of the wrong sort");
    assert!(world.opening[0].1.contains("socket.io"));
    world.refuse();
    assert_eq!(switched(&mut world), [], "it is still wanted");
    world.pass(config().backoff_min);
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    assert_eq!(switched(&mut world), [(ticket, Ok(Transport::SocketIo))]);
}

#[test]
fn only_the_latest_switch_counts() {
    let (mut world, _) = World::connected(config());
    let first = switch(&mut world, Transport::SocketIo);
    let second = switch(&mut world, Transport::Ws);
    assert_eq!(
        switched(&mut world),
        [(first, Err(SwitchError::Superseded)), (second, Ok(Transport::Ws))]
    );
    assert_eq!(world.closed.len(), 1);
    let last = switch(&mut world, Transport::SocketIo);
    world.command(Command::Close { timeout: MS });
    let result = switched(&mut world);
    assert!(matches!(&result[..], [(t, Err(SwitchError::Closed(_)))] if *t == last));
    switch(&mut world, Transport::SocketIo);
    assert!(matches!(&switched(&mut world)[..], [(_, Err(SwitchError::Closed(_)))]));
}

#[test]
fn after_a_switch_reconnects_use_the_new_transport() {
    let (mut world, _) = World::connected(ClientConfig { transport: Transport::Auto, ..config() });
    switch(&mut world, Transport::SocketIo);
    let io = world.accept();
    world.welcome(io, true, Cursor::new());
    world.pass(Duration::from_secs(2));
    world.cut(io);
    world.pass(config().backoff_min);
    assert!(world.opening[0].1.contains("socket.io"));
}
