//! Subscriptions, the cursor, and who gets what.

use super::*;

fn replay(name: &str, offset: u64, id: u32) -> ServerMessage {
    ServerMessage::Event(Delivery { replay_for: Some(SubId(id)), ..delivery(name, offset) })
}

fn gap(from: u64, to: u64) -> Gap {
    let (from, to) = (Offset(from), Offset(to));
    Gap { lane: lane(), from, to, epoch: Epoch(1), replay_for: None }
}

#[test]
fn an_event_goes_once_to_each_subscription_that_matches() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "rooms.*", 10);
    world.subscribed(io, 2, "**", 10);
    world.subscribed(io, 3, "orders.*", 10);
    assert_eq!(world.told().len(), 3, "each is told to be live");
    world.say(io, event("rooms.1", 11));
    world.say(io, event("rooms.2", 11));
    world.say(io, event("rooms.3", 9));
    world.say(io, event("rooms.4", 12));
    let to_both = |name: &str| (name.to_owned(), vec![1, 2]);
    assert_eq!(world.events(), [to_both("rooms.1"), to_both("rooms.4")], "offsets only grow");
    let counters = world.machine.stats().counters;
    assert_eq!((counters.events, counters.duplicates), (2, 2));
}

#[test]
fn volatile_events_have_no_place() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "rooms.*", 10);
    world.told();
    for _ in 0..2 {
        let delivery = Delivery { position: None, ..delivery("rooms.1", 0) };
        world.say(io, ServerMessage::Event(delivery));
    }
    assert_eq!(world.events().len(), 2);
    assert_eq!(world.machine.cursor(), &at(10));
    assert_eq!(world.machine.stats().counters.volatile_events, 2);
}

#[test]
fn subscriptions_wait_for_a_connection_and_are_sent_again_until_answered() {
    let mut world = World::new(config());
    world.subscribe(1, "a.*");
    let io = world.accept();
    assert_eq!(world.hello().subscriptions, [], "a hello states what the server had agreed to");
    world.welcome(io, false, Cursor::new());
    let ask = |id, pattern: &str| {
        ClientMessage::Subscribe(Subscribe { id: SubId(id), pattern: pattern.into(), since: None })
    };
    assert_eq!(world.hear(), [ask(1, "a.*")]);
    world.cut(io);
    world.pass(config().backoff_min);
    let io = world.accept();
    world.hear();
    world.welcome(io, true, Cursor::new());
    assert_eq!(world.hear(), [ask(1, "a.*")]);
    world.say(io, ServerMessage::Subscribed { id: SubId(1), cursor: at(5) });
    world.say(io, ServerMessage::Subscribed { id: SubId(1), cursor: at(7) });
    world.told();
    world.say(io, event("a.b", 6));
    assert_eq!(world.events().len(), 1, "the second answer moves nothing");
}

#[test]
fn a_hello_states_subscriptions_and_what_was_received() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "a.*", 5);
    world.say(io, event("a.b", 7));
    world.cut(io);
    world.pass(config().backoff_min);
    let io = world.accept();
    let hello = world.hello();
    let subscribe = Subscribe { id: SubId(1), pattern: "a.*".into(), since: None };
    assert_eq!((hello.subscriptions, hello.cursor), (vec![subscribe], at(7)));
    world.told();
    world.welcome(io, true, at(9));
    assert_eq!(world.hear(), [], "nothing is asked twice");
    for offset in 8..=10 {
        world.say(io, event("a.b", offset));
    }
    assert_eq!(world.events().len(), 3);
    let counters = world.machine.stats().counters;
    assert_eq!(counters.recovered, 2, "the third came after the connection");
}

#[test]
fn the_cursor_follows_progress() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "a.*", 5);
    world.say(io, ServerMessage::Progress(at(100)));
    assert_eq!(world.machine.cursor(), &at(100));
    world.say(io, ServerMessage::Progress(at(50)));
    assert_eq!(world.machine.cursor(), &at(100));
    let other = Place { epoch: Epoch(2), offset: Offset(3) };
    let restarted: Cursor = [(lane(), other)].into_iter().collect();
    world.say(io, ServerMessage::Progress(restarted.clone()));
    assert_eq!(world.machine.cursor(), &restarted);
    let unknown = [(Lane::new(9, Priority::Low), place(1))].into_iter().collect();
    world.say(io, ServerMessage::Progress(unknown));
    assert_eq!(world.machine.cursor(), &restarted, "lanes nobody asked for");
}

#[test]
fn gaps_are_told_to_those_concerned() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "a.*", 5);
    world.subscribed(io, 2, "a.b", 5);
    world.subscribe(3, "z");
    let elsewhere = [(Lane::new(1, Priority::Normal), place(1))].into_iter().collect();
    world.say(io, ServerMessage::Subscribed { id: SubId(3), cursor: elsewhere });
    world.told();
    world.say(io, ServerMessage::Gap(gap(5, 20)));
    let told = world.told();
    assert_eq!(
        told,
        [Notice::Gap { gap: gap(5, 20), to: Recipients::Many(vec![SubId(1), SubId(2)]) }]
    );
    world.say(io, event("a.b", 20));
    world.say(io, ServerMessage::Gap(gap(5, 20)));
    assert_eq!(world.told(), [], "both are in the past");
    let restarted = Gap { epoch: Epoch(2), ..gap(20, 7) };
    world.say(io, ServerMessage::Gap(restarted));
    assert_eq!(world.told().len(), 1);
    world.say(io, event("a.b", 8));
    assert_eq!(world.events().len(), 1, "the new history begins after the gap");
    assert_eq!(world.machine.stats().counters.gaps, 2);
}

#[test]
fn a_subscription_made_in_another_history_gets_nothing_from_before_it() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "a.*", 50);
    world.subscribe(2, "a.b");
    // The lane has begun again; what this connection lacks of that is still to come.
    let place = Place { epoch: Epoch(2), offset: Offset(8) };
    let cursor = [(lane(), place)].into_iter().collect();
    world.say(io, ServerMessage::Subscribed { id: SubId(2), cursor });
    world.say(io, ServerMessage::Gap(Gap { epoch: Epoch(2), ..gap(50, 6) }));
    world.say(io, event("a.b", 7));
    world.say(io, event("a.b", 9));
    let events = world.events();
    assert_eq!(events[0].1, [1], "7 was there before the second subscription");
    assert_eq!(events[1].1, [1, 2]);
}

#[test]
fn ending_a_subscription_forgets_its_lanes() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "a.*", 5);
    world.subscribed(io, 2, "a.b", 5);
    world.hear();
    world.command(Command::Unsubscribe(SubId(1)));
    assert_eq!(world.hear(), [ClientMessage::Unsubscribe(SubId(1))]);
    assert_eq!(world.machine.cursor(), &at(5), "the other one needs it");
    world.command(Command::Unsubscribe(SubId(2)));
    world.command(Command::Unsubscribe(SubId(2)));
    assert_eq!(world.hear(), [ClientMessage::Unsubscribe(SubId(2))]);
    assert_eq!(world.machine.cursor(), &Cursor::new());
    world.told();
    world.say(io, ServerMessage::Unsubscribed(SubId(1)));
    world.say(io, event("a.b", 6));
    assert_eq!(world.told(), [], "what was on its way goes nowhere");
    // Were the old place kept, a reconnect would bring what happened before this subscription.
    world.subscribed(io, 3, "a.b", 50);
    assert_eq!(world.machine.cursor(), &at(50));
}

#[test]
fn a_later_subscription_gets_nothing_from_before_it() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "a.*", 5);
    world.subscribed(io, 2, "a.b", 8);
    world.told();
    for offset in 6..=10 {
        world.say(io, event("a.b", offset));
    }
    let to: Vec<_> = world.events().into_iter().map(|(_, to)| to).collect();
    assert_eq!(to, [vec![1], vec![1], vec![1], vec![1, 2], vec![1, 2]]);
}

#[test]
fn refused_and_withdrawn_subscriptions_are_told() {
    let (mut world, io) = World::connected(config());
    let refusal = Refusal::new(ErrorCode::FORBIDDEN, "not for you");
    world.subscribe(1, "a.*");
    world.say(io, ServerMessage::SubscribeRefused { id: SubId(1), refusal: refusal.clone() });
    assert_eq!(world.told(), [Notice::SubscribeFailed { id: SubId(1), refusal: refusal.clone() }]);
    world.subscribe(2, "a\n");
    assert!(matches!(&world.told()[..], [Notice::SubscribeFailed { id: SubId(2), .. }]));
    world.subscribed(io, 3, "a.*", 5);
    world.told();
    world.say(io, ServerMessage::Unsubscribed(SubId(3)));
    assert!(matches!(&world.told()[..], [Notice::SubscribeFailed { id: SubId(3), .. }]));
    world.subscribed(io, 4, "a.*", 5);
    world.cut(io);
    world.pass(config().backoff_min);
    let io = world.accept();
    world.told();
    let refused = vec![(SubId(4), refusal.clone())];
    world.say(io, ServerMessage::Welcome(Welcome { refused, ..terms() }));
    assert!(world.told().contains(&Notice::SubscribeFailed { id: SubId(4), refusal }));
    assert_eq!(world.machine.stats().subscriptions, 0);
}

#[test]
fn what_ended_while_the_hello_was_under_way_is_ended_after_it() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "a.*", 5);
    world.cut(io);
    world.pass(config().backoff_min);
    let io = world.accept();
    assert_eq!(world.hello().subscriptions.len(), 1);
    world.command(Command::Unsubscribe(SubId(1)));
    world.welcome(io, true, at(9));
    assert_eq!(world.hear(), [ClientMessage::Unsubscribe(SubId(1))]);
    assert_eq!(world.machine.cursor(), &Cursor::new(), "nobody wants the lane");
    // Were it there, what comes in this history would count as of the one before.
    let cursor: Cursor =
        [(lane(), Place { epoch: Epoch(2), offset: Offset(20) })].into_iter().collect();
    world.subscribe(2, "a.*");
    world.say(io, ServerMessage::Subscribed { id: SubId(2), cursor: cursor.clone() });
    assert_eq!(world.machine.cursor(), &cursor);
}

#[test]
fn a_replay_goes_to_its_subscription_alone() {
    let (mut world, io) = World::connected(config());
    world.subscribed(io, 1, "a.*", 100);
    let since = Some(at(40));
    world.command(Command::Subscribe(Subscribe { id: SubId(2), pattern: "a.*".into(), since }));
    world.say(io, ServerMessage::Subscribed { id: SubId(2), cursor: at(100) });
    world.told();
    world.say(io, replay("a.b", 50, 2));
    world.say(io, replay("a.b", 50, 2));
    world.say(io, replay("a.b", 60, 2));
    world.say(io, replay("a.b", 60, 9));
    assert_eq!(world.machine.cursor(), &at(100), "and does not move the cursor");
    world.say(io, event("a.b", 101));
    let to: Vec<_> = world.events().into_iter().map(|(_, to)| to).collect();
    assert_eq!(to, [vec![2], vec![2], vec![1, 2]]);
    world.say(io, replay("a.b", 70, 2));
    assert_eq!(world.events(), [], "what is new came after the replay");
}

#[test]
fn a_replay_that_was_cut_short_goes_on_without_duplicates() {
    let (mut world, io) = World::connected(config());
    let since = Some(at(40));
    let subscribe = Subscribe { id: SubId(1), pattern: "a.*".into(), since };
    world.command(Command::Subscribe(subscribe.clone()));
    world.say(io, ServerMessage::Subscribed { id: SubId(1), cursor: at(100) });
    world.say(io, replay("a.b", 50, 1));
    world.cut(io);
    world.pass(config().backoff_min);
    let io = world.accept();
    assert_eq!(world.hello().subscriptions.len(), 1, "what is new is not to be missed");
    world.told();
    world.welcome(io, true, at(120));
    assert_eq!(world.hear(), [ClientMessage::Subscribe(subscribe)], "and the rest is asked for");
    world.say(io, event("a.b", 110));
    world.say(io, ServerMessage::Subscribed { id: SubId(1), cursor: at(120) });
    for offset in [50, 60, 100, 110] {
        world.say(io, replay("a.b", offset, 1));
    }
    assert_eq!(world.events().len(), 3, "110, 60 and 100");
    world.cut(io);
    world.pass(config().backoff_min);
    let io = world.accept();
    world.hear();
    world.welcome(io, true, at(120));
    assert_eq!(world.hear(), [], "the replay is through");
}

#[test]
fn a_gap_in_a_replay_concerns_its_subscription() {
    let (mut world, io) = World::connected(config());
    let since = Some(at(40));
    world.command(Command::Subscribe(Subscribe { id: SubId(1), pattern: "a.*".into(), since }));
    world.say(io, ServerMessage::Subscribed { id: SubId(1), cursor: at(100) });
    world.told();
    let gap = Gap { replay_for: Some(SubId(1)), ..gap(40, 60) };
    world.say(io, ServerMessage::Gap(gap));
    world.say(io, ServerMessage::Gap(gap));
    assert_eq!(world.told(), [Notice::Gap { gap, to: Recipients::One(SubId(1)) }]);
    assert_eq!(world.machine.cursor(), &at(100));
}
