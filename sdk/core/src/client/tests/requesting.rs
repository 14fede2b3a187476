//! Requests, both ways.

use super::*;

fn request(world: &mut World, timeout: Option<Duration>) -> Ticket {
    world.next_ticket += 1;
    let ticket = Ticket(world.next_ticket);
    let (name, payload) = ("ask".into(), Payload::NULL);
    world.command(Command::Request { ticket, name, payload, timeout });
    ticket
}

fn ids_heard(world: &mut World) -> Vec<RequestId> {
    let ids = world.hear().into_iter().filter_map(|message| match message {
        ClientMessage::Request { id, .. } => Some(id),
        _ => None,
    });
    ids.collect()
}

fn replies(world: &mut World) -> Vec<(Ticket, Result<Payload, RequestError>)> {
    let replies = world.told().into_iter().filter_map(|notice| match notice {
        Notice::Reply { ticket, result } => Some((ticket, result)),
        _ => None,
    });
    replies.collect()
}

#[test]
fn replies_find_their_requests() {
    for transport in [Transport::Ws, Transport::SocketIo] {
        let (mut world, io) = World::connected(ClientConfig { transport, ..config() });
        let (first, second) = (request(&mut world, None), request(&mut world, None));
        let ids = ids_heard(&mut world);
        let answer = Payload::Json("42".into());
        world.say(io, ServerMessage::Reply { id: ids[1], result: Ok(answer.clone()) });
        let refusal = Refusal::new(ErrorCode::HANDLER, "no");
        world.say(io, ServerMessage::Reply { id: ids[0], result: Err(refusal.clone()) });
        assert_eq!(
            replies(&mut world),
            [(second, Ok(answer)), (first, Err(RequestError::Refused(refusal)))]
        );
    }
}

#[test]
fn requests_wait_for_a_connection_and_fail_with_it() {
    let mut world = World::new(config());
    let ticket = request(&mut world, None);
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    assert_eq!(ids_heard(&mut world).len(), 1);
    world.cut(io);
    let replies = replies(&mut world);
    assert!(matches!(&replies[..], [(t, Err(RequestError::Disconnected(_)))] if *t == ticket));
    world.pass(config().backoff_min);
    let io = world.accept();
    world.welcome(io, true, Cursor::new());
    assert_eq!(ids_heard(&mut world), [], "a handler may not bear to run twice");
}

#[test]
fn waiting_for_a_reply_has_an_end_which_the_server_is_told() {
    let (mut world, io) = World::connected(config());
    let hasty = request(&mut world, Some(MS));
    let patient = request(&mut world, None);
    let ids = ids_heard(&mut world);
    world.pass(MS);
    assert_eq!(replies(&mut world), [(hasty, Err(RequestError::TimedOut(MS)))]);
    assert_eq!(world.hear(), [ClientMessage::Cancel(ids[0])]);
    world.say(io, ServerMessage::Reply { id: ids[0], result: Ok(Payload::NULL) });
    assert_eq!(replies(&mut world), []);
    world.pass(config().request_timeout);
    let timeout = config().request_timeout;
    assert_eq!(replies(&mut world), [(patient, Err(RequestError::TimedOut(timeout)))]);
}

#[test]
fn a_request_can_be_withdrawn() {
    let mut world = World::new(config());
    let unsent = request(&mut world, None);
    world.command(Command::CancelRequest(unsent));
    let sent = request(&mut world, None);
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    let ids = ids_heard(&mut world);
    assert_eq!(ids.len(), 1);
    world.command(Command::CancelRequest(sent));
    world.command(Command::CancelRequest(sent));
    assert_eq!(world.hear(), [ClientMessage::Cancel(ids[0])]);
    world.say(io, ServerMessage::Reply { id: ids[0], result: Ok(Payload::NULL) });
    assert_eq!(replies(&mut world), []);
}

#[test]
fn their_number_is_bounded() {
    let mut world = World::new(ClientConfig { max_requests: 2, ..config() });
    for _ in 0..2 {
        request(&mut world, None);
    }
    let refused = request(&mut world, None);
    assert_eq!(replies(&mut world), [(refused, Err(RequestError::TooMany(2)))]);
}

#[test]
fn what_is_too_large_is_never_sent() {
    let (mut world, _) = World::connected(config());
    let payload = Payload::Binary(vec![0; 1001].into());
    let (ticket, name) = (Ticket(1), "ask".into());
    world.command(Command::Request { ticket, name, payload, timeout: None });
    let [(_, Err(RequestError::Refused(refusal)))] = &replies(&mut world)[..] else { panic!() };
    assert_eq!(refusal.code, ErrorCode::TOO_LARGE);
    assert_eq!(world.hear(), []);
}

#[test]
fn requests_end_with_the_client() {
    let (mut world, _) = World::connected(config());
    request(&mut world, None);
    world.command(Command::Close { timeout: MS });
    assert!(matches!(replies(&mut world)[..], [(_, Err(RequestError::Closed(_)))]));
    request(&mut world, None);
    assert!(matches!(replies(&mut world)[..], [(_, Err(RequestError::Closed(_)))]));
}

#[test]
fn the_server_is_answered_on_the_connection_it_asked_on() {
    let (mut world, io) = World::connected(config());
    let ask = || ServerMessage::Request {
        id: RequestId(7),
        name: "how many".into(),
        payload: Payload::NULL,
    };
    world.say(io, ask());
    let told = world.told();
    let [Notice::Request { from, name, .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(&**name, "how many");
    let result = Ok(Payload::Json("3".into()));
    world.command(Command::Respond { to: *from, result: result.clone() });
    assert_eq!(world.hear(), [ClientMessage::Reply { id: RequestId(7), result: result.clone() }]);
    world.cut(io);
    world.pass(config().backoff_min);
    let io = world.accept();
    world.welcome(io, true, Cursor::new());
    world.hear();
    world.command(Command::Respond { to: *from, result });
    assert_eq!(world.hear(), [], "the other connection knows nothing of it");
}
