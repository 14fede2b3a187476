//! Moving from polling to a WebSocket.

use super::*;

#[test]
fn a_session_moves_when_no_request_is_under_way() {
    let mut hand = Hand::polling();
    let id = hand.sockets[0];
    assert!(hand.urls[2].starts_with("ws://h/socket.io/?EIO=4&transport=websocket"));
    assert!(hand.urls[2].contains("&sid=s1"));
    hand.input(IoEvent::WsOpened { id, subprotocol: None });
    assert_eq!(hand.sent, [(id, text("2probe"))]);
    hand.send("4a");
    hand.frame(id, "3probe");
    hand.send("4b");
    assert!(!hand.transport.is_writable());
    hand.answer_get(ok("6"));
    assert!(hand.gets.is_empty(), "no further poll");
    assert_eq!(hand.transport.carrier(), Some(Carrier::Polling), "a POST is under way");
    assert_eq!(hand.answer_post(), "4a");
    assert_eq!(hand.sent[1..], [(id, text("5")), (id, text("4b"))]);
    assert!(hand.happened.contains(&TransportOutput::Upgraded));
    assert_eq!(hand.transport.carrier(), Some(Carrier::WebSocket));
    hand.happened.clear();
    hand.frame(id, "4c");
    assert_eq!(hand.frames(), [text("4c")]);
    assert_eq!(hand.transport.next_timeout(), None);
}

#[test]
fn a_websocket_that_fails_leaves_the_session_where_it_is() {
    type Failure = fn(&mut Hand, IoId);
    let failures: [Failure; 4] = [
        |hand, id| hand.input(IoEvent::WsClosed { id, close: broken() }),
        |hand, id| hand.frame(id, "3else"),
        |hand, id| {
            hand.frame(id, "3probe");
            hand.input(IoEvent::WsClosed { id, close: broken() });
        },
        |hand, _| {
            hand.now = hand.transport.next_timeout().unwrap();
            hand.transport.handle_timeout(hand.now);
            hand.drain();
        },
    ];
    for failure in failures {
        let mut hand = Hand::polling();
        let id = hand.sockets[0];
        hand.input(IoEvent::WsOpened { id, subprotocol: None });
        failure(&mut hand, id);
        let failed = |output: &TransportOutput| matches!(output, TransportOutput::UpgradeFailed(_));
        assert_eq!(hand.happened.iter().filter(|output| failed(output)).count(), 1);
        hand.send("4a");
        assert_eq!(hand.answer_post(), "4a");
        hand.answer_get(ok("4b"));
        assert_eq!(hand.frames(), [text("4b")]);
        assert_eq!(hand.gets.len(), 1);
        hand.frame(id, "3probe");
        assert_eq!(hand.transport.carrier(), Some(Carrier::Polling));
    }
}

#[test]
fn a_websocket_that_fails_while_the_session_is_about_to_move_lets_polling_go_on() {
    let mut hand = Hand::polling();
    let id = hand.sockets[0];
    hand.input(IoEvent::WsOpened { id, subprotocol: None });
    hand.send("4a");
    hand.frame(id, "3probe");
    hand.answer_get(ok("6"));
    assert!(hand.gets.is_empty());
    hand.send("4b");
    hand.input(IoEvent::WsClosed { id, close: broken() });
    assert_eq!(hand.gets.len(), 1, "polling goes on");
    assert_eq!(hand.answer_post(), "4a");
    assert_eq!(hand.answer_post(), "4b");
}

#[test]
fn there_is_no_upgrade_where_either_side_has_none() {
    let polling = TransportConfig { transports: vec![Carrier::Polling], ..config() };
    let unwanted = TransportConfig { upgrade: false, ..config() };
    let no_upgrades = OPEN.replace(r#""websocket""#, r#""webtransport""#);
    for (config, open) in [(polling, OPEN), (unwanted, OPEN), (config(), no_upgrades.as_str())] {
        let mut hand = Hand::new(config);
        hand.answer_get(ok(open));
        assert!(hand.sockets.is_empty());
        assert_eq!(hand.gets.len(), 1);
    }
}

#[test]
fn closing_ends_the_websocket_that_is_tried() {
    let mut hand = Hand::polling();
    let id = hand.sockets[0];
    hand.transport.close(at(1), &broken());
    hand.drain();
    assert_eq!(hand.closed, [id]);
    assert_eq!(hand.answer_post(), "1");
    let mut hand = Hand::polling();
    let (id, get) = (hand.sockets[0], hand.gets[0]);
    hand.transport.abort(&broken());
    hand.drain();
    assert_eq!((hand.closed, hand.aborted), (vec![id], vec![get]));
    assert!(hand.transport.is_over());
}
