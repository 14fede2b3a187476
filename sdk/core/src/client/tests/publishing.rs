//! Queues, numbers, acknowledgements, refusals.

use super::*;

fn results(world: &mut World) -> Vec<(u64, Result<Option<Position>, PublishError>)> {
    let results = world.told().into_iter().filter_map(|notice| match notice {
        Notice::Published { ticket, result } => Some((ticket.0, result)),
        _ => None,
    });
    results.collect()
}

/// The sequence numbers of the publishes heard.
fn numbers(world: &mut World) -> Vec<u64> {
    world.publishes_heard().into_iter().map(|(seq, _)| seq).collect()
}

#[test]
fn the_most_urgent_go_first_and_numbers_grow_as_they_are_sent() {
    let mut world = World::new(config());
    for (name, priority) in [
        ("low", Priority::Low),
        ("normal 1", Priority::Normal),
        ("critical", Priority::Critical),
        ("normal 2", Priority::Normal),
    ] {
        world.publish(name, priority);
    }
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    let sent = ["critical", "normal 1", "normal 2", "low"];
    let expected: Vec<_> = (1..).zip(sent.map(str::to_owned)).collect();
    assert_eq!(world.publishes_heard(), expected);
}

#[test]
fn an_acknowledgement_gives_the_position_and_the_round_trip() {
    let (mut world, io) = World::connected(config());
    let ticket = world.publish("a", Priority::Normal);
    world.pass(Duration::from_millis(40));
    world.ack(io, 1);
    world.ack(io, 1);
    world.ack(io, 77);
    let position = Position { lane: lane(), offset: Offset(1001) };
    assert_eq!(results(&mut world), [(ticket.0, Ok(Some(position)))]);
    let stats = world.machine.stats();
    assert_eq!((stats.counters.published, stats.in_flight), (1, 0));
    assert_eq!(stats.round_trips.max(), Duration::from_millis(40));
}

#[test]
fn no_more_are_in_flight_than_the_server_allows() {
    let (mut world, io) = World::connected(config());
    for n in 0..6 {
        world.publish(&format!("{n}"), Priority::Normal);
    }
    assert_eq!(numbers(&mut world), [1, 2, 3, 4]);
    world.ack(io, 2);
    assert_eq!(numbers(&mut world), [5]);
    let stats = world.machine.stats();
    assert_eq!((stats.in_flight, stats.queued[Priority::Normal as usize]), (4, 5));
}

#[test]
fn a_connection_that_takes_no_more_is_left_alone() {
    let (mut world, io) = World::connected(config());
    world.input(Input::Io(IoEvent::Writable { id: io, writable: false }));
    world.publish("later", Priority::Normal);
    world.publish("sooner", Priority::High);
    assert_eq!(world.hear(), []);
    world.input(Input::Io(IoEvent::Writable { id: io, writable: true }));
    assert_eq!(world.publishes_heard(), [(1, "sooner".into()), (2, "later".into())]);
}

#[test]
fn what_was_not_acknowledged_is_sent_again_first_with_its_number() {
    let (mut world, io) = World::connected(config());
    for name in ["1", "2", "3"] {
        world.publish(name, Priority::Normal);
    }
    world.ack(io, 2);
    world.cut(io);
    world.publish("urgent", Priority::Critical);
    world.pass(config().backoff_min);
    let io = world.accept();
    world.hear();
    world.welcome(io, true, Cursor::new());
    let expected = [(1, "1"), (3, "3"), (4, "urgent")].map(|(seq, n)| (seq, n.to_owned()));
    assert_eq!(world.publishes_heard(), expected);
    assert_eq!(world.machine.stats().counters.resent, 2);
    for seq in [1, 3, 4] {
        world.ack(io, seq);
    }
    assert_eq!(results(&mut world).len(), 4);
}

#[test]
fn a_smaller_window_after_a_reconnect_is_kept() {
    let (mut world, io) = World::connected(config());
    for n in 0..4 {
        world.publish(&format!("{n}"), Priority::Normal);
    }
    world.cut(io);
    world.pass(config().backoff_min);
    let io = world.accept();
    world.hear();
    world.say(io, ServerMessage::Welcome(Welcome { max_in_flight: 1, ..terms() }));
    assert_eq!(numbers(&mut world), [1]);
    world.ack(io, 1);
    assert_eq!(numbers(&mut world), [2]);
}

#[test]
fn a_full_queue_refuses_and_says_what_it_holds() {
    let queues = QueueLimits { count: 3, bytes: 1 << 20, ..QueueLimits::default() };
    let mut world = World::new(ClientConfig { queues, ..config() });
    for n in 0..3 {
        world.publish(&format!("{n}"), Priority::Normal);
    }
    let refused = world.publish("3", Priority::Normal);
    world.publish("urgent", Priority::High);
    let results = results(&mut world);
    let [(ticket, Err(PublishError::QueueFull { priority, count, .. }))] = &results[..] else {
        panic!("{results:?}");
    };
    assert_eq!((*ticket, *priority, *count), (refused.0, Priority::Normal, 3));
}

#[test]
fn queues_are_bounded_in_bytes_and_an_empty_one_takes_anything() {
    let queues = QueueLimits { bytes: 1000, ..QueueLimits::default() };
    let mut world = World::new(ClientConfig { queues, ..config() });
    let large = |name: &str| Publish {
        payload: Payload::Binary(vec![0; 2000].into()),
        headers: Headers::new([("key".to_owned(), "value".to_owned())]),
        ..publish(name)
    };
    world.publish_with(large("first"), None);
    assert_eq!(results(&mut world), []);
    world.publish_with(large("second"), None);
    assert!(matches!(results(&mut world)[..], [(2, Err(PublishError::QueueFull { .. }))]));
    assert!(world.machine.stats().queued_bytes[Priority::Normal as usize] > 2000);
}

#[test]
fn waiting_has_an_end() {
    let mut world = World::new(config());
    world.publish("patient", Priority::Normal);
    let hasty = Duration::from_secs(1);
    world.publish_with(publish("hasty"), Some(hasty));
    world.pass(hasty - MS);
    assert_eq!(results(&mut world), []);
    world.pass(MS);
    assert_eq!(results(&mut world), [(2, Err(PublishError::Expired(hasty)))]);
    let age = config().queues.age;
    world.pass(age);
    assert_eq!(results(&mut world), [(1, Err(PublishError::Expired(age)))]);
    assert_eq!(world.machine.stats().queued, [0; 4]);
}

#[test]
fn an_acknowledgement_has_its_time_too() {
    let (mut world, io) = World::connected(config());
    world.publish("a", Priority::Normal);
    let hasty = Duration::from_secs(1);
    world.publish_with(publish("hasty"), Some(hasty));
    world.pass(hasty);
    assert_eq!(results(&mut world), [(2, Err(PublishError::TimedOut(hasty)))]);
    // Heartbeats keep the connection.
    for _ in 0..3 {
        world.pass(Duration::from_secs(20));
        world.say(io, ServerMessage::Progress(Cursor::new()));
    }
    let timeout = config().queues.ack_timeout;
    assert_eq!(results(&mut world), [(1, Err(PublishError::TimedOut(timeout)))]);
    world.ack(io, 1);
    assert_eq!(results(&mut world), [], "too late");
    assert_eq!(world.machine.stats().in_flight, 0);
}

#[test]
fn a_final_refusal_is_told() {
    let (mut world, io) = World::connected(config());
    world.publish("a", Priority::Normal);
    let refusal = Refusal::new(ErrorCode::FORBIDDEN, "not by you");
    world.say(io, ServerMessage::PublishRefused { seq: 1, refusal: refusal.clone() });
    world.say(io, ServerMessage::PublishRefused { seq: 1, refusal: refusal.clone() });
    assert_eq!(results(&mut world), [(1, Err(PublishError::Refused(refusal)))]);
    assert_eq!(world.machine.stats().counters.publish_failures, 1);
}

#[test]
fn a_passing_refusal_is_overcome_in_order() {
    let (mut world, io) = World::connected(config());
    for name in ["1", "2", "3"] {
        world.publish(name, Priority::Normal);
    }
    world.hear();
    let refusal = Refusal::new(ErrorCode::UNAVAILABLE, "the log is away");
    for seq in [1, 2] {
        world.say(io, ServerMessage::PublishRefused { seq, refusal: refusal.clone() });
    }
    world.publish("4", Priority::Normal);
    assert_eq!(world.hear(), [], "not at once");
    world.pass(Duration::from_secs(5));
    let expected = [(1, "1"), (2, "2"), (4, "4")].map(|(seq, name)| (seq, name.to_owned()));
    assert_eq!(world.publishes_heard(), expected);
    for seq in 1..=4 {
        world.ack(io, seq);
    }
    assert!(results(&mut world).iter().all(|(_, result)| result.is_ok()));
}

#[test]
fn an_expired_token_is_replaced_and_the_publish_sent_again() {
    let refusal = Refusal::new(ErrorCode::TOKEN_EXPIRED, "expired");
    let mut world = World::new(ClientConfig { authenticated: true, ..config() });
    let request = world.tokens.pop().unwrap();
    world.input(Input::Token { request, result: Ok(Some("old".into())) });
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    world.publish("a", Priority::Normal);
    world.say(io, ServerMessage::PublishRefused { seq: 1, refusal: refusal.clone() });
    assert_eq!(world.tokens.len(), 1);
    world.hear();
    world.pass(Duration::from_secs(5));
    assert_eq!(numbers(&mut world), [1]);

    let (mut world, io) = World::connected(config());
    world.publish("a", Priority::Normal);
    world.say(io, ServerMessage::PublishRefused { seq: 1, refusal });
    assert_eq!(results(&mut world).len(), 1, "without a provider there is no other token");
}

#[test]
fn what_is_too_large_is_never_sent() {
    let mut world = World::new(config());
    let large = Payload::Binary(vec![0; 1001].into());
    world.publish_with(Publish { payload: large.clone(), ..publish("large") }, None);
    world.publish("small", Priority::Normal);
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    assert_eq!(world.publishes_heard().len(), 1);
    let volatile = Publish { payload: large, volatile: true, ..publish("large") };
    world.publish_with(volatile, None);
    let results = results(&mut world);
    assert_eq!(results.len(), 2);
    for (_, result) in results {
        let Err(PublishError::Refused(refusal)) = result else { panic!("{result:?}") };
        assert_eq!(refusal.code, ErrorCode::TOO_LARGE);
        assert!(refusal.message.contains("1001 bytes"));
    }
    assert_eq!(world.machine.stats().in_flight, 1);
}

#[test]
fn a_bad_name_is_refused_here() {
    let (mut world, _) = World::connected(config());
    world.publish("a.**", Priority::Normal);
    world.publish_with(Publish { volatile: true, ..publish("") }, None);
    for (_, result) in results(&mut world) {
        let Err(PublishError::Refused(refusal)) = result else { panic!("{result:?}") };
        assert_eq!(refusal.code, ErrorCode::BAD_NAME);
    }
    assert_eq!(world.hear(), []);
}

#[test]
fn volatile_events_are_sent_now_or_never() {
    let mut world = World::new(config());
    let volatile = || Publish { volatile: true, ..publish("cursor") };
    world.publish_with(volatile(), None);
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    assert_eq!(results(&mut world), [(1, Err(PublishError::NotConnected))]);
    world.hear();
    world.publish_with(volatile(), None);
    assert_eq!(results(&mut world), [(2, Ok(None))]);
    assert_eq!(numbers(&mut world), [0]);
    world.input(Input::Io(IoEvent::Writable { id: io, writable: false }));
    world.publish_with(volatile(), None);
    assert_eq!(results(&mut world), [(3, Err(PublishError::NotConnected))]);
    assert_eq!(world.machine.stats().counters.volatile_sent, 1);
    world.command(Command::Close { timeout: MS });
    world.publish_with(volatile(), None);
    assert!(matches!(results(&mut world)[..], [(4, Err(PublishError::Closed(_)))]));
}

#[test]
fn every_error_says_what_to_do() {
    let close = Close::new(CloseCode::NORMAL, "closed");
    let full = PublishError::QueueFull { priority: Priority::Low, count: 1, bytes: 2 };
    assert!(full.to_string().contains("priority low is full (1 events, 2 bytes wait)"));
    for (error, advice) in [
        (full, Advice::Retry),
        (PublishError::NotConnected, Advice::Retry),
        (PublishError::Refused(Refusal::new(ErrorCode(250), "")), Advice::RefreshAuth),
        (PublishError::Closed(close.clone()), Advice::GiveUp),
    ] {
        assert_eq!(error.advice(), advice);
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(RequestError::TimedOut(MS).advice(), Advice::Retry);
    assert_eq!(RequestError::Closed(close.clone()).advice(), Advice::GiveUp);
    let refused = RequestError::Refused(Refusal::new(ErrorCode::HANDLER, "no"));
    assert_eq!(refused.advice(), Advice::GiveUp);
    assert_eq!(SwitchError::Superseded.advice(), Advice::Retry);
    assert_eq!(SwitchError::Failed(close.clone()).advice(), Advice::Retry);
    assert_eq!(SwitchError::Closed(close).advice(), Advice::GiveUp);
}
