//! Events and acknowledgements, and what becomes of them without a connection.

use super::*;

#[test]
fn acknowledgements_go_both_ways() {
    let (mut world, key) = World::connected(SocketConfig::default());
    world.emit(key, asking("sum", 7));
    world.emit(key, asking("sum", 8));
    let name = vec![r#""sum""#.to_owned()];
    assert_eq!(world.events(), [(Some(0), name.clone()), (Some(1), name)]);
    world.say("431[2]");
    world.say(r#"430["a",{}]"#);
    world.say("430[0]");
    let answers = [(8, Ok(vec!["2".into()])), (7, Ok(vec![r#""a""#.into(), "{}".into()]))];
    assert_eq!(world.acked(), answers);

    world.say(r#"4217["ask",1]"#);
    let told = world.told();
    let [ManagerNotice::Event { ack: Some(ack), .. }] = &told[..] else { panic!("{told:?}") };
    let mut answer = Args::new();
    answer.push_str("yes");
    world.machine.acknowledge(world.now, *ack, answer.clone());
    world.drain();
    assert_eq!(world.heard()[0].body, Body::Ack { ack: 17, args: answer.clone() });
    world.cut();
    world.come_back();
    world.grant("/", r#"{"sid":"s2"}"#);
    world.heard();
    world.machine.acknowledge(world.now, *ack, answer);
    world.drain();
    assert_eq!(world.heard(), [], "it belongs to a connection that has ended");
}

#[test]
fn an_acknowledgement_that_does_not_come_ends_once() {
    let config =
        SocketConfig { ack_timeout: Some(Duration::from_millis(100)), ..SocketConfig::default() };
    let (mut world, key) = World::connected(config);
    world.emit(key, asking("a", 1));
    world.emit(key, Emit { timeout: Some(Duration::from_millis(50)), ..asking("b", 2) });
    world.wait();
    assert_eq!((world.now, world.acked()), (at(50), vec![(2, Err(AckError::Timeout))]));
    world.wait();
    assert_eq!((world.now, world.acked()), (at(100), vec![(1, Err(AckError::Timeout))]));
    world.say("430[1]");
    assert_eq!(world.acked(), [], "too late");

    world.emit(key, asking("c", 3));
    world.cut();
    let reason = DisconnectReason::TransportClose;
    assert_eq!(world.acked(), [(3, Err(AckError::Disconnected(reason)))]);
    world.emit(key, asking("d", 4));
    world.emit(key, asking("e", 5));
    world.machine.forget(EmitId(5));
    while world.acked().is_empty() {
        world.wait();
    }
    world.opening.clear();
    assert_eq!(world.machine.held(key).0, 1, "what timed out is not sent; what is forgotten is");
}

#[test]
fn what_is_emitted_without_a_connection_goes_out_in_order() {
    let mut world = World::new(config());
    let key = world.socket("/", SocketConfig::default());
    world.machine.watch_outgoing(key, true);
    for name in ["a", "b", "c"] {
        world.emit(key, plain(name));
    }
    world.accept();
    assert_eq!((world.events(), world.told()), (vec![], vec![]), "not before it is connected");
    world.grant("/", r#"{"sid":"s"}"#);
    let names: Vec<_> = world.events().into_iter().map(|(_, args)| args[0].clone()).collect();
    assert_eq!(names, [r#""a""#, r#""b""#, r#""c""#]);
    let outgoing = |n: &ManagerNotice| matches!(n, ManagerNotice::Outgoing { .. });
    assert_eq!(world.told().iter().filter(|notice| outgoing(notice)).count(), 3);
}

#[test]
fn the_buffer_has_bounds() {
    let config = |overflow| SocketConfig {
        buffer: BufferLimits { count: 2, bytes: 20, age: Duration::from_secs(1), overflow },
        ..SocketConfig::default()
    };
    let mut world = World::new(super::config());
    let key = world.socket("/", config(BufferOverflow::Reject));
    for id in 1..=3 {
        world.emit(key, asking("n", id));
    }
    assert_eq!(world.acked(), [(3, Err(AckError::Dropped))]);
    assert_eq!(world.machine.held(key), (2, 6));
    world.now = at(1_000);
    world.machine.handle_timeout(world.now);
    world.drain();
    assert_eq!(world.acked(), [(1, Err(AckError::Expired)), (2, Err(AckError::Expired))]);
    assert_eq!((world.machine.held(key), world.machine.dropped()), ((0, 0), 3));

    let mut world = World::new(super::config());
    let key = world.socket("/", config(BufferOverflow::DropOldest));
    for id in 1..=3 {
        world.emit(key, asking("n", id));
    }
    assert_eq!(world.acked(), [(1, Err(AckError::Dropped))]);
    world.emit(key, Emit { args: args("large", &[&"1".repeat(100)]), ..asking("", 4) });
    let dropped = |id| (id, Err(AckError::Dropped));
    assert_eq!(world.acked(), [dropped(2), dropped(3)], "one is taken whatever its size");
}

#[test]
fn a_slow_connection_is_a_queue_like_any_other() {
    let config = SocketConfig {
        buffer: BufferLimits { count: 5, ..BufferLimits::default() },
        ..SocketConfig::default()
    };
    let (mut world, key) = World::connected(config);
    let id = world.open.unwrap();
    world.input(IoEvent::Writable { id, writable: false });
    let large = format!("{:?}", "x".repeat(40_000));
    for number in 0..20 {
        let args = args("n", &[&number.to_string(), &large]);
        world.emit(key, Emit { args, ..asking("", number) });
    }
    assert!(world.acked().iter().all(|(_, result)| *result == Err(AckError::Dropped)));
    assert_eq!(world.machine.held(key).0, 5);
    world.emit(key, Emit { volatile: true, ..asking("v", 30) });
    assert_eq!(world.acked(), [(30, Err(AckError::Dropped))]);
    world.input(IoEvent::Writable { id, writable: true });
    let numbers: Vec<_> = world.events().iter().map(|(_, args)| args[1].clone()).collect();
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(world.machine.held(key).0, 0);
}

#[test]
fn volatile_events_go_now_or_never() {
    let mut world = World::new(config());
    let key = world.socket("/", SocketConfig::default());
    let volatile = |name| Emit { volatile: true, ..plain(name) };
    world.emit(key, volatile("a"));
    world.accept();
    world.emit(key, volatile("b"));
    world.grant("/", r#"{"sid":"s"}"#);
    world.emit(key, volatile("c"));
    assert_eq!(world.events(), [(None, vec![r#""c""#.to_owned()])]);
    assert_eq!(world.machine.dropped(), 2);
}

#[test]
fn with_retries_one_is_under_way_at_a_time() {
    let config = SocketConfig {
        retries: Some(2),
        ack_timeout: Some(Duration::from_millis(10)),
        ..SocketConfig::default()
    };
    let (mut world, key) = World::connected(config);
    world.emit(key, asking("a", 1));
    world.emit(key, plain("b"));
    world.emit(key, asking("c", 3));
    let heard = |world: &mut World| -> Vec<(u64, String)> {
        let events = world.events().into_iter();
        events.map(|(ack, args)| (ack.unwrap(), args[0].clone())).collect()
    };
    let a = |ack| vec![(ack, r#""a""#.to_owned())];
    assert_eq!(heard(&mut world), a(0));
    world.wait();
    assert_eq!(heard(&mut world), a(1), "once more");
    world.cut();
    assert_eq!(world.acked(), []);
    world.come_back();
    world.grant("/", r#"{"sid":"s2"}"#);
    assert_eq!(heard(&mut world), a(2), "the third and last time");
    world.wait();
    assert_eq!(world.acked(), [(1, Err(AckError::Timeout))]);
    assert_eq!(heard(&mut world), [(3, r#""b""#.to_owned())]);
    world.say("433[]");
    assert_eq!(heard(&mut world), [(4, r#""c""#.to_owned())]);
    world.say("434[9]");
    assert_eq!(world.acked(), [(3, Ok(vec!["9".to_owned()]))]);
    assert_eq!(world.machine.held(key), (0, 0));
}

#[test]
fn binary_travels_in_either_parser() {
    let (mut world, key) = World::connected(SocketConfig::default());
    let mut with_binary = args("b", &[]);
    let num = with_binary.push_attachment(Bytes::from_static(&[1, 2]));
    let inside = format!(r#"{{"in":{{"_placeholder":true,"num":{num}}}}}"#);
    with_binary.push_json(inside.into());
    world.emit(key, Emit { args: with_binary.clone(), ..plain("") });
    assert_eq!(world.heard()[0].args(), Some(&with_binary));
    world.say(r#"451-["b",{"in":{"_placeholder":true,"num":0}}]"#);
    let id = world.open.unwrap();
    let frame = Frame::Binary(Bytes::from_static(&[1, 2]));
    world.input(IoEvent::WsFrame { id, frame });
    let event = ManagerNotice::Event { socket: key, args: with_binary.clone(), ack: None };
    assert_eq!(world.told(), [event]);

    let mut machine = ManagerMachine::new(ManagerConfig { parser: Parser::Msgpack, ..config() });
    let key = machine.socket(Namespace::MAIN, SocketConfig::default());
    machine.connect(at(0), key);
    let id = IoId::first(1);
    let frame = Frame::Text(Bytes::from_static(OPEN.as_bytes()));
    machine.handle_input(at(0), IoEvent::WsFrame { id, frame });
    // Node's server says so when it keeps no state: {"sid":"s","pid":undefined}.
    let granted = b"\x83\xa4type\x00\xa4data\x82\xa3sid\xa1s\xa3pid\xd4\x00\x00\xa3nsp\xa1/";
    let frame = Frame::Binary(Bytes::from_static(granted));
    machine.handle_input(at(0), IoEvent::WsFrame { id, frame });
    let body = Body::Event { ack: None, args: with_binary.clone() };
    let frame = crate::socketio::msgpack::frame(&Packet { namespace: Namespace::MAIN, body });
    machine.handle_input(at(0), IoEvent::WsFrame { id, frame });
    machine.emit(at(0), key, Emit { args: with_binary.clone(), ..plain("") });
    let mut received = None;
    let mut sent = Vec::new();
    while let Some(output) = machine.poll_output() {
        match output {
            ManagerOutput::App(ManagerNotice::Event { args, .. }) => received = Some(args),
            ManagerOutput::Io(Io::SendWs { frame: Frame::Binary(data), .. }) => sent.push(data),
            _ => {}
        }
    }
    assert_eq!(received.as_ref(), Some(&with_binary));
    let limits = PacketLimits::default();
    let last = crate::socketio::msgpack::decode(sent.last().unwrap(), &limits).unwrap();
    assert_eq!(last.args(), Some(&with_binary));
}

#[test]
fn an_argument_that_cannot_be_passed_on_costs_its_event() {
    let (mut world, key) = World::connected(SocketConfig::default());
    world.emit(key, asking("a", 1));
    world.say(r#"42["half","\ud800"]"#);
    world.say(r#"430["\ud800"]"#);
    world.say(r#"42["whole"]"#);
    let told = world.told();
    assert!(matches!(&told[0], ManagerNotice::Acked { result: Err(AckError::Unreadable(_)), .. }));
    let event = ManagerNotice::Event { socket: key, args: args("whole", &[]), ack: None };
    assert_eq!(told[1..], [event]);
}
