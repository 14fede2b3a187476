//! Connecting, recovering, being refused, being disconnected.

use super::*;

#[test]
fn namespaces_share_a_connection() {
    let mut world = World::new(config());
    let main = world.socket("/", SocketConfig::default());
    let chat = world.socket("/chat", SocketConfig::default());
    assert_eq!(world.opening.len(), 1);
    world.accept();
    assert_eq!(world.connects(), [("/".to_owned(), None), ("/chat".to_owned(), None)]);
    world.grant("/chat", r#"{"sid":"c1"}"#);
    world.grant("/", r#"{"sid":"m1"}"#);
    let connected =
        |socket, id: &str| ManagerNotice::Connected { socket, id: id.to_owned(), recovered: false };
    assert_eq!(world.told(), [connected(chat, "c1"), connected(main, "m1")]);
    world.say(r#"42/chat,["hi",1]"#);
    world.say(r#"42/other,["hi",2]"#);
    let event = ManagerNotice::Event { socket: chat, args: args("hi", &["1"]), ack: None };
    assert_eq!(world.told(), [event]);
    world.machine.disconnect(world.now, chat);
    world.drain();
    assert!(matches!(
        &world.told()[..],
        [ManagerNotice::Disconnected {
            reason: DisconnectReason::ClientDisconnect,
            will_reconnect: false,
            ..
        }]
    ));
    assert_eq!(world.heard()[0].body, Body::Disconnect);
    assert!(world.open.is_some(), "the other socket still wants it");
    world.machine.disconnect(world.now, main);
    world.drain();
    assert_eq!(world.open, None);
    assert_eq!(world.machine.status().state, ManagerState::Idle);
    world.machine.connect(world.now, main);
    world.drain();
    world.accept();
    assert_eq!(world.connects().len(), 1);
}

#[test]
fn the_application_is_asked_who_it_is_on_every_connect() {
    let mut world = World::new(config());
    let authenticated = SocketConfig { authenticated: true, ..SocketConfig::default() };
    let key = world.socket("/", authenticated);
    world.accept();
    let (socket, request) = world.asked.remove(0);
    assert_eq!((socket, world.heard().len()), (key, 0));
    let auth = Bytes::from_static(br#"{"token":"t"}"#);
    world.machine.authenticate(world.now, request, Ok(Some(auth)));
    world.drain();
    assert_eq!(world.connects(), [("/".to_owned(), Some(r#"{"token":"t"}"#.to_owned()))]);
    world.grant("/", r#"{"sid":"s1"}"#);
    world.cut();
    world.come_back();
    let (_, again) = world.asked.remove(0);
    assert_ne!(again, request);
    let failure = |retryable| Err(AuthFailure { reason: "no token".into(), retryable });
    world.told();
    world.machine.authenticate(world.now, request, failure(true));
    world.machine.authenticate(world.now, again, failure(true));
    world.drain();
    let [ManagerNotice::ConnectError { error, .. }] = &world.told()[..] else {
        panic!("the application is told once")
    };
    assert!(error.will_retry && error.advice() == Advice::RefreshAuth);
    world.wait();
    let (_, third) = world.asked.remove(0);
    world.machine.authenticate(world.now, third, failure(false));
    world.drain();
    assert_eq!(world.open, None, "nobody wants the connection any more");
}

#[test]
fn a_socket_that_was_cut_off_says_where_it_was() {
    let mut world = World::new(config());
    let authenticated = SocketConfig { authenticated: true, ..SocketConfig::default() };
    world.socket("/", authenticated);
    world.accept();
    let answer = |world: &mut World| {
        let (_, request) = world.asked.remove(0);
        let auth = Bytes::from_static(br#"{"token":"t","pid":"mine"}"#);
        world.machine.authenticate(world.now, request, Ok(Some(auth)));
        world.drain();
    };
    answer(&mut world);
    world.grant("/", r#"{"sid":"s1","pid":"p1"}"#);
    world.say(r#"42["a",1,"o1"]"#);
    world.say(r#"42["b",{}]"#);
    world.told();
    world.cut();
    world.come_back();
    answer(&mut world);
    let data = r#"{"pid":"p1","offset":"o1","token":"t","pid":"mine"}"#;
    assert_eq!(world.connects().last().unwrap().1.as_deref(), Some(data));
    world.told();
    world.grant("/", r#"{"sid":"s1","pid":"p1"}"#);
    let recovered = |notices: &[ManagerNotice]| {
        notices.iter().any(|n| matches!(n, ManagerNotice::Connected { recovered: true, .. }))
    };
    assert!(recovered(&world.told()));
    world.cut();
    world.come_back();
    answer(&mut world);
    world.grant("/", r#"{"sid":"s2","pid":"p2"}"#);
    assert!(!recovered(&world.told()));
    world.heard();
    world.cut();
    world.come_back();
    answer(&mut world);
    let data = r#"{"pid":"p2","token":"t","pid":"mine"}"#;
    assert_eq!(world.connects()[0].1.as_deref(), Some(data), "the old offset is of no use");
}

#[test]
fn a_refusal_says_what_to_do_and_ends_it() {
    for (error, message, data, advice) in [
        (r#"{"message":"Invalid namespace"}"#, "Invalid namespace", None, Advice::GiveUp),
        (r#"{"message":"no","data":{"a":1}}"#, "no", Some(r#"{"a":1}"#), Advice::RefreshAuth),
        (
            r#"{"message":"later","data":{"code":4000}}"#,
            "later",
            Some(r#"{"code":4000}"#),
            Advice::Retry,
        ),
        (r#""no""#, "no", None, Advice::RefreshAuth),
    ] {
        let mut world = World::new(config());
        let key = world.socket("/", SocketConfig::default());
        world.accept();
        world.say(&format!("44{error}"));
        let [ManagerNotice::ConnectError { error, .. }] = &world.told()[..] else { panic!() };
        assert_eq!((&*error.message, error.advice(), error.will_retry), (message, advice, false));
        assert_eq!(error.data.as_deref(), data.map(str::as_bytes));
        assert_eq!(world.open, None, "and it does not come back by itself");
        assert_eq!(world.machine.next_timeout(), None);
        world.machine.connect(world.now, key);
        world.drain();
        world.accept();
        assert_eq!(world.connects().len(), 2, "unless it is told to");
    }
}

#[test]
fn a_server_of_another_version_is_named() {
    let mut world = World::new(config());
    world.socket("/", SocketConfig::default());
    world.accept();
    world.say("40");
    let [ManagerNotice::ConnectError { error, .. }] = &world.told()[..] else { panic!() };
    assert!(error.message.contains("v2.x") && error.advice() == Advice::GiveUp);
}

#[test]
fn each_end_has_its_words() {
    type End = fn(&mut World);
    let ends: [(End, DisconnectReason, bool); 6] = [
        (|world| world.say("41"), DisconnectReason::ServerDisconnect, false),
        (World::cut, DisconnectReason::TransportClose, true),
        (|world| world.say("1"), DisconnectReason::TransportClose, true),
        (|world| world.say("4x"), DisconnectReason::ParseError, true),
        (|world| world.say("x"), DisconnectReason::TransportError, true),
        (World::wait, DisconnectReason::PingTimeout, true),
    ];
    for (end, expected, again) in ends {
        let (mut world, key) = World::connected(SocketConfig::default());
        end(&mut world);
        let told = world.told();
        let [ManagerNotice::Disconnected { socket, reason, will_reconnect, .. }] = &told[..] else {
            panic!("{expected}: {told:?}")
        };
        assert_eq!((*socket, *reason, *will_reconnect), (key, expected, again));
        assert_eq!(world.open, None, "{expected}");
        if again {
            world.come_back();
            assert_eq!(world.connects().len(), 1, "{expected}");
        } else {
            assert_eq!(world.machine.next_timeout(), None);
        }
    }
}

#[test]
fn attempts_are_spread_and_counted() {
    let limited = ManagerConfig { reconnection_attempts: Some(2), seed: 5, ..config() };
    let mut world = World::new(limited);
    let key = world.socket("/", SocketConfig::default());
    let refused = || Close::new(CloseCode::ABNORMAL, "refused");
    for (failed, again) in [(1, true), (2, true), (3, false)] {
        world.refuse(refused());
        assert_eq!(world.machine.status().failed_attempts, failed);
        let told = world.told();
        let [ManagerNotice::ConnectError { error, .. }] = &told[..] else { panic!("{told:?}") };
        assert_eq!((error.will_retry, error.advice()), (again, Advice::Retry));
        if again {
            let delay = world.machine.status().next_attempt.unwrap();
            assert!(delay <= Duration::from_secs(1) * failed);
            world.wait();
        }
    }
    assert_eq!(world.machine.next_timeout(), None);
    world.machine.connect(world.now, key);
    world.drain();
    world.accept();
    assert_eq!(world.machine.status().failed_attempts, 0);

    let never = ManagerConfig { reconnection: false, ..config() };
    let mut world = World::new(never);
    world.socket("/", SocketConfig::default());
    world.refuse(Close { delay: Some(Duration::from_secs(9)), ..refused() });
    assert_eq!(world.machine.next_timeout(), None);

    let mut world = World::new(config());
    world.socket("/", SocketConfig::default());
    world.refuse(Close { delay: Some(Duration::from_secs(9)), ..refused() });
    assert!(world.machine.next_timeout() >= Some(at(9_000)), "the server says when to come back");
}

#[test]
fn a_change_of_mind_waits_for_the_servers_answer() {
    let mut world = World::new(config());
    let main = world.socket("/", SocketConfig::default());
    let chat = world.socket("/chat", SocketConfig::default());
    world.accept();
    world.grant("/", r#"{"sid":"m"}"#);
    world.heard();
    world.machine.disconnect(world.now, chat);
    world.drain();
    assert_eq!(world.heard(), [], "to a server that has not granted it, it would be an error");
    world.grant("/chat", r#"{"sid":"c"}"#);
    assert_eq!(world.heard()[0].body, Body::Disconnect);
    world.machine.connect(world.now, chat);
    world.machine.disconnect(world.now, chat);
    world.machine.connect(world.now, chat);
    world.drain();
    assert_eq!(world.connects().len(), 1, "it is asked once");
    world.told();
    world.grant("/chat", r#"{"sid":"c2"}"#);
    assert_eq!(world.told().len(), 1);
    let _ = main;
}

#[test]
fn what_comes_too_early_is_kept_for_a_while() {
    let mut world = World::new(config());
    let key = world.socket("/", SocketConfig { receive_buffer: 2, ..SocketConfig::default() });
    world.accept();
    for number in 1..=3 {
        world.say(&format!(r#"42["n",{number}]"#));
    }
    assert_eq!(world.told(), []);
    world.grant("/", r#"{"sid":"s"}"#);
    let told = world.told();
    assert!(matches!(told[0], ManagerNotice::Connected { .. }));
    let event = |n: &str| ManagerNotice::Event { socket: key, args: args("n", &[n]), ack: None };
    assert_eq!(told[1..], [event("2"), event("3")]);
}

#[test]
fn a_closed_manager_does_nothing_more() {
    let (mut world, key) = World::connected(SocketConfig::default());
    world.emit(key, asking("a", 1));
    world.machine.close(world.now);
    world.drain();
    let result = Err(AckError::Disconnected(DisconnectReason::ClientDisconnect));
    assert_eq!(world.acked(), [(1, result)]);
    world.machine.connect(world.now, key);
    world.emit(key, asking("b", 2));
    assert_eq!(world.acked(), [(2, Err(AckError::Closed))]);
    assert!(world.opening.is_empty() && world.machine.is_finished());
    assert_eq!(world.machine.status().state, ManagerState::Closed);
}
