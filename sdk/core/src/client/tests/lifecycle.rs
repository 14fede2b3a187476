//! Connecting, reconnecting, identity, closing.

use super::*;

#[test]
fn a_client_says_who_it_is_and_is_connected_when_welcomed() {
    let mut world = World::new(config());
    assert_eq!(world.opening, [(IoId::first(1), "ws://server/ws".to_owned())]);
    assert_eq!(world.state(), State::Connecting);
    let io = world.accept();
    let hello = world.hello();
    assert_eq!((hello.producer.as_str(), hello.session, hello.token), ("producer", None, None));
    assert_eq!(world.state(), State::Connecting);
    world.welcome(io, false, Cursor::new());
    assert_eq!(world.state(), State::Connected);
    assert_eq!(world.machine.status().transport, Some(Transport::Ws));
}

#[test]
fn a_lost_connection_is_made_again_with_the_session() {
    let (mut world, io) = World::connected(config());
    world.cut(io);
    let status = world.machine.status().clone();
    assert_eq!((status.state, status.code), (State::Reconnecting, CloseCode::ABNORMAL));
    assert_eq!(&*status.reason, "cut");
    let delay = status.next_attempt.expect("a time to wait for");
    assert!(delay <= config().backoff_min);
    world.pass(delay);
    let io = world.accept();
    assert_eq!(world.hello().session.as_deref(), Some("session"));
    world.welcome(io, true, Cursor::new());
    assert_eq!(world.state(), State::Connected);
    assert_eq!(world.machine.stats().counters.reconnects, 1);
}

#[test]
fn delays_grow_while_attempts_fail() {
    let mut world = World::new(config());
    let mut longest = Duration::ZERO;
    for _ in 0..30 {
        world.refuse();
        let delay = world.machine.status().next_attempt.expect("a time to wait for");
        longest = longest.max(delay);
        assert!(delay <= config().backoff_max);
        world.pass(delay);
    }
    assert!(longest > config().backoff_min * 10);
}

#[test]
fn an_attempt_that_hangs_is_given_up() {
    let mut world = World::new(config());
    world.pass(config().connect_timeout);
    assert_eq!(world.closed.len(), 1, "the driver is told");
    assert_eq!(world.state(), State::Reconnecting);
    assert!(world.machine.status().reason.contains("no connection within 10s"));
    world.pass(config().backoff_min);
    world.accept();
    world.pass(config().connect_timeout);
    assert_eq!(world.closed.len(), 2, "a server that does not welcome is no better");
}

#[test]
fn a_silent_server_is_noticed_before_what_it_said_long_ago_is_believed() {
    let (mut world, io) = World::connected(config());
    // The machine slept: no timer went off, and a frame was left in a buffer.
    world.now = world.now + Duration::from_secs(60);
    world.say(io, event("a", 1));
    assert_eq!(world.machine.status().code, CloseCode::HEARTBEAT);
    assert_eq!(world.events(), []);
}

#[test]
fn what_comes_from_an_old_connection_is_ignored() {
    let (mut world, first) = World::connected(config());
    world.cut(first);
    world.pass(config().backoff_min);
    let second = world.accept();
    world.cut(first);
    world.input(Input::Io(IoEvent::WsFrame {
        id: first,
        frame: Frame::Text(Bytes::from_static(b"nonsense")),
    }));
    world.input(Input::Io(IoEvent::WsOpened { id: first, subprotocol: None }));
    world.input(Input::Io(IoEvent::Writable { id: first, writable: false }));
    world.welcome(second, true, Cursor::new());
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn the_code_decides_whether_to_go_on() {
    for (code, goes_on) in [
        (CloseCode::GOING_AWAY, true),
        (CloseCode::REPLACED, true),
        (CloseCode(1011), true),
        (CloseCode(4999), false),
        (CloseCode::UNAUTHORIZED, false),
        (CloseCode::TOKEN_EXPIRED, false),
        (CloseCode::ENDED, false),
    ] {
        let (mut world, io) = World::connected(config());
        world.say(io, ServerMessage::Close(Close::new(code, "because")));
        let status = world.machine.status();
        assert_eq!(status.retryable, goes_on, "{code:?}");
        assert_eq!((status.state == State::Reconnecting, status.code), (goes_on, code));
        assert_eq!(&*status.reason, "because");
    }
}

#[test]
fn the_server_may_ask_for_a_delay() {
    let (mut world, io) = World::connected(config());
    let delay = Duration::from_millis(12_345);
    let close = Close { delay: Some(delay), ..Close::new(CloseCode::GOING_AWAY, "restart") };
    world.say(io, ServerMessage::Close(close));
    assert_eq!(world.machine.status().next_attempt, Some(delay));
    world.pass(delay - MS);
    assert_eq!(world.opening, []);
    world.pass(MS);
    assert_eq!(world.opening.len(), 1);
}

#[test]
fn a_broken_frame_ends_the_connection() {
    let (mut world, io) = World::connected(config());
    world.input(Input::Io(IoEvent::WsFrame {
        id: io,
        frame: Frame::Text(Bytes::from_static(b"nonsense")),
    }));
    assert_eq!(world.closed[0].0, io);
    assert_eq!(world.state(), State::Closed, "a server that does not speak the protocol");
}

#[test]
fn every_attempt_asks_for_a_token() {
    let mut world = World::new(ClientConfig { authenticated: true, ..config() });
    assert_eq!(world.opening, [], "nothing is opened without it");
    let request = world.tokens.pop().unwrap();
    world.input(Input::Token { request, result: Ok(Some("first".into())) });
    let io = world.accept();
    assert_eq!(world.hello().token.as_deref(), Some("first"));
    world.say(io, ServerMessage::Close(Close::new(CloseCode::TOKEN_EXPIRED, "expired")));
    assert_eq!(world.state(), State::Reconnecting);
    world.pass(config().backoff_min);
    let request = world.tokens.pop().expect("a fresh one");
    world.input(Input::Token { request, result: Ok(Some("second".into())) });
    world.accept();
    assert_eq!(world.hello().token.as_deref(), Some("second"));
}

#[test]
fn a_token_that_cannot_be_had_is_waited_for_or_ends_it() {
    for (retryable, state) in [(true, State::Reconnecting), (false, State::Closed)] {
        let mut world = World::new(ClientConfig { authenticated: true, ..config() });
        let request = world.tokens.pop().unwrap();
        let result = Err(TokenError { reason: "signed out".into(), retryable });
        world.input(Input::Token { request, result });
        assert_eq!(world.state(), state);
        assert!(world.machine.status().reason.contains("signed out"));
        assert_eq!(world.closed, [], "nothing was open");
    }
}

#[test]
fn a_provider_that_hangs_costs_an_attempt() {
    let mut world = World::new(ClientConfig { authenticated: true, ..config() });
    let late = world.tokens.pop().unwrap();
    world.pass(config().connect_timeout + config().backoff_min);
    assert_eq!(world.tokens.len(), 1, "the next attempt asks again");
    world.input(Input::Token { request: late, result: Ok(Some("late".into())) });
    assert_eq!(world.opening, [], "the late answer is ignored");
}

#[test]
fn a_live_connection_gets_a_fresh_token() {
    let mut world = World::new(ClientConfig { authenticated: true, ..config() });
    let request = world.tokens.pop().unwrap();
    world.input(Input::Token { request, result: Ok(Some("first".into())) });
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    world.hear();
    world.command(Command::RefreshToken);
    world.command(Command::RefreshToken);
    assert_eq!(world.tokens.len(), 1, "once is enough");
    let request = world.tokens.pop().unwrap();
    world.input(Input::Token { request, result: Ok(Some("fresh".into())) });
    assert_eq!(world.hear(), [ClientMessage::Token("fresh".into())]);
    world.notices.clear();
    world.say(io, ServerMessage::TokenAnswer(Ok(None)));
    assert_eq!(world.told(), [Notice::TokenRefreshed(Ok(()))]);
    // The server may want one by itself.
    let expired = Refusal::new(ErrorCode::TOKEN_EXPIRED, "expires soon");
    world.say(io, ServerMessage::Refused(expired.clone()));
    assert_eq!(world.told(), [Notice::Refused(expired)]);
    let request = world.tokens.pop().expect("asked for at once");
    let result = Err(TokenError { reason: "signed out".into(), retryable: true });
    world.input(Input::Token { request, result });
    assert!(matches!(&world.told()[..], [Notice::TokenRefreshed(Err(_))]));
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn a_token_is_replaced_before_it_expires() {
    // While the server need not be heard.
    let good = Duration::from_secs(24);
    let mut world = World::new(ClientConfig { authenticated: true, ..config() });
    let answer = |world: &mut World, result| {
        let request = world.tokens.pop().expect("asked for a token");
        world.input(Input::Token { request, result });
    };
    answer(&mut world, Ok(Some("first".into())));
    let io = world.accept();
    world.say(io, ServerMessage::Welcome(Welcome { expires_in: Some(good), ..terms() }));
    world.hear();
    world.pass(good * 74 / 100);
    assert!(world.tokens.is_empty(), "not yet");
    world.pass(good * 16 / 100);
    // It cannot be had: it is tried again, while the one in use is good.
    answer(&mut world, Err(TokenError { reason: "no network".into(), retryable: true }));
    assert!(world.tokens.is_empty());
    world.pass(Duration::from_secs(2));
    answer(&mut world, Ok(Some("second".into())));
    assert_eq!(world.hear(), [ClientMessage::Token("second".into())]);
    world.say(io, ServerMessage::TokenAnswer(Ok(Some(good))));
    world.pass(good * 7 / 10);
    assert!(world.tokens.is_empty());
    // The next connection presents its own.
    world.cut(io);
    world.pass(config().backoff_min);
    answer(&mut world, Ok(Some("third".into())));
    let io = world.accept();
    world.welcome(io, true, Cursor::new());
    world.pass(good);
    assert!(world.tokens.is_empty(), "that one does not expire");
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn nothing_is_tried_without_a_network() {
    let (mut world, io) = World::connected(config());
    world.input(Input::Online(false));
    assert_eq!(world.state(), State::Connected, "the connection knows better");
    world.cut(io);
    assert_eq!(world.machine.status().next_attempt, None);
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.opening, []);
    world.input(Input::Online(true));
    assert_eq!(world.opening.len(), 1, "tried at once");
    world.refuse();
    world.input(Input::Online(false));
    assert_eq!(world.machine.status().next_attempt, None);
    world.input(Input::Online(true));
    assert_eq!(world.opening.len(), 1);
}

#[test]
fn auto_falls_back_to_socketio_and_stays_with_what_works() {
    let mut world = World::new(ClientConfig { transport: Transport::Auto, ..config() });
    assert!(world.opening[0].1.ends_with("/ws"));
    world.refuse();
    assert!(world.opening[0].1.contains("socket.io"), "at once");
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    assert_eq!(world.machine.status().transport, Some(Transport::SocketIo));
    world.pass(Duration::from_secs(5));
    world.cut(io);
    world.pass(config().backoff_min);
    assert!(world.opening[0].1.contains("socket.io"));
}

#[test]
fn auto_does_not_give_up_because_one_transport_is_not_spoken() {
    let mut world = World::new(ClientConfig { transport: Transport::Auto, ..config() });
    let (io, _) = world.opening.remove(0);
    world.input(Input::Io(IoEvent::WsClosed {
        id: io,
        close: Close::new(CloseCode::UNSUPPORTED, "not here"),
    }));
    assert_eq!(world.state(), State::Reconnecting);
    assert!(world.opening[0].1.contains("socket.io"));
    let (io, _) = world.opening.remove(0);
    world.input(Input::Io(IoEvent::WsClosed {
        id: io,
        close: Close::new(CloseCode::UNSUPPORTED, "nor here"),
    }));
    assert_eq!(world.state(), State::Closed);
}

#[test]
fn closing_says_goodbye() {
    let (mut world, io) = World::connected(config());
    world.command(Command::Close { timeout: Duration::from_secs(1) });
    assert_eq!(world.hear(), [ClientMessage::Bye]);
    assert_eq!(world.closed[0].0, io);
    let status = world.machine.status();
    assert_eq!((status.state, status.code), (State::Closed, CloseCode::NORMAL));
    assert_eq!(world.machine.next_timeout(), None, "nothing more happens");
    world.input(Input::Online(true));
    world.command(Command::Connect);
    assert_eq!(world.opening, []);
}

#[test]
fn closing_waits_for_what_is_queued_but_not_for_ever() {
    let mut world = World::new(config());
    let kept = world.publish("a", Priority::Normal);
    world.command(Command::Close { timeout: Duration::from_secs(5) });
    let refused = world.publish("b", Priority::Normal);
    let refusal = world.told().pop().unwrap();
    let Notice::Published { ticket, result: Err(PublishError::Closed(_)) } = refusal else {
        panic!("{refusal:?}");
    };
    assert_eq!(ticket, refused);
    assert_eq!(world.state(), State::Connecting);
    let io = world.accept();
    world.welcome(io, false, Cursor::new());
    assert_eq!(world.publishes_heard(), [(1, "a".to_owned())]);
    world.ack(io, 1);
    assert_eq!(world.hear(), [ClientMessage::Bye]);
    let told = world.told();
    assert!(told.iter().any(|notice| {
        matches!(notice, Notice::Published { ticket, result: Ok(_) } if *ticket == kept)
    }));
    assert_eq!(world.state(), State::Closed);

    let mut world = World::new(config());
    world.publish("a", Priority::Normal);
    world.command(Command::Close { timeout: Duration::from_secs(5) });
    world.pass(Duration::from_secs(5));
    assert_eq!(world.state(), State::Closed);
    assert!(world.told().iter().any(|notice| {
        matches!(notice, Notice::Published { result: Err(PublishError::Closed(_)), .. })
    }));
}

#[test]
fn closing_without_a_connection_needs_none() {
    let mut world = World::new(config());
    world.command(Command::Close { timeout: Duration::from_secs(5) });
    assert_eq!(world.state(), State::Closed);
    assert_eq!(world.closed.len(), 1, "the attempt is abandoned");
}
