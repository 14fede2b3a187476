//! Opening, falling back, polling, posting, closing.

use super::*;

#[test]
fn polling_is_opened_first_and_goes_on() {
    let mut hand = Hand::new(config());
    assert!(hand.urls[0].starts_with("http://h/socket.io/?EIO=4&transport=polling&t="));
    assert!(!hand.urls[0].contains("sid="));
    hand.answer_get(ok(&format!("{OPEN}\x1e40")));
    assert_eq!(hand.happened.first(), Some(&TransportOutput::Opened(Carrier::Polling)));
    assert_eq!(hand.frames(), [text(OPEN), text("40")]);
    assert_eq!(hand.gets.len(), 1);
    assert!(hand.urls[1].contains("&sid=s1"));
    hand.answer_get(ok("2\x1ebAQID"));
    assert_eq!(hand.frames(), [text("2"), Frame::Binary(vec![1, 2, 3].into())]);
    assert_eq!(hand.gets.len(), 1);
    assert_eq!(hand.transport.carrier(), Some(Carrier::Polling));
}

#[test]
fn what_is_sent_goes_in_one_body_of_the_size_the_server_takes() {
    let mut hand = Hand::polling();
    for packet in ["4aaaa", "4bbbb", "4cccc", "4dddd"] {
        hand.transport.send(text(packet));
    }
    hand.transport.send(Frame::Binary(vec![1, 2, 3].into()));
    assert!(!hand.transport.is_writable());
    hand.drain();
    assert_eq!(hand.posts.len(), 1, "one at a time");
    assert_eq!(hand.answer_post(), "4aaaa\x1e4bbbb\x1e4cccc", "at most 20 bytes");
    assert_eq!(hand.answer_post(), "4dddd\x1ebAQID");
    assert!(hand.posts.is_empty());
    assert!(hand.transport.is_writable());
    let large = format!("4{}", "x".repeat(50));
    hand.send(&large);
    assert_eq!(hand.answer_post(), large, "what no other body could take goes alone");
    assert_eq!(hand.transport.waiting_bytes(), 0);
}

#[test]
fn a_websocket_is_open_with_its_open_packet() {
    let websocket = TransportConfig { transports: vec![Carrier::WebSocket], ..config() };
    let mut hand = Hand::new(websocket);
    let id = hand.sockets[0];
    hand.send("4early");
    hand.input(IoEvent::WsOpened { id, subprotocol: None });
    assert!(hand.happened.is_empty() && hand.sent.is_empty());
    hand.frame(id, OPEN);
    assert_eq!(hand.happened[0], TransportOutput::Opened(Carrier::WebSocket));
    assert_eq!(hand.sent, [(id, text("4early"))]);
    hand.input(IoEvent::Writable { id, writable: false });
    hand.send("4later");
    assert_eq!((hand.sent.len(), hand.transport.is_writable()), (1, false));
    hand.input(IoEvent::Writable { id, writable: true });
    assert_eq!(hand.sent[1], (id, text("4later")));
    hand.input(IoEvent::WsClosed { id, close: broken() });
    assert_eq!(hand.end(), Some((CloseReason::TransportClose, "broken")));
    assert!(hand.transport.is_over());
}

#[test]
fn the_next_carrier_is_tried_only_where_that_is_configured() {
    let order = vec![Carrier::WebSocket, Carrier::Polling];
    let config = TransportConfig { transports: order, ..config() };
    let mut hand = Hand::new(config.clone());
    let id = hand.sockets[0];
    hand.input(IoEvent::WsClosed { id, close: broken() });
    assert_eq!(hand.end(), Some((CloseReason::TransportError, "broken")));

    let config = TransportConfig { try_all_transports: true, ..config };
    let mut hand = Hand::new(config.clone());
    let id = hand.sockets[0];
    hand.input(IoEvent::WsClosed { id, close: broken() });
    hand.input(IoEvent::WsOpened { id, subprotocol: None });
    hand.frame(id, OPEN);
    assert!(hand.happened.is_empty(), "late callbacks do no harm");
    hand.answer_get(ok(OPEN));
    assert_eq!(hand.transport.carrier(), Some(Carrier::Polling));
    assert_eq!(hand.sockets.len(), 2, "and whether a WebSocket works is tried again");

    let mut hand = Hand::new(config);
    let id = hand.sockets[0];
    hand.now = hand.transport.next_timeout().unwrap();
    hand.transport.handle_timeout(hand.now);
    hand.drain();
    assert_eq!(hand.closed, [id], "one that does not open in time is given up");
    hand.answer_get(Err(broken()));
    let both = "websocket did not open within 20s; broken";
    assert_eq!(hand.end(), Some((CloseReason::TransportError, both)));
}

#[test]
fn what_worked_the_last_time_can_be_tried_first() {
    let hand = Hand::first(config(), Some(Carrier::WebSocket));
    assert_eq!((hand.sockets.len(), hand.gets.len()), (1, 0));
    let polling = TransportConfig { transports: vec![Carrier::Polling], ..config() };
    let hand = Hand::first(polling, Some(Carrier::WebSocket));
    assert_eq!((hand.sockets.len(), hand.gets.len()), (0, 1), "but only one that is configured");
    let hand = Hand::new(TransportConfig { transports: vec![], ..config() });
    assert_eq!(hand.end(), Some((CloseReason::TransportError, "no transport is configured")));
}

#[test]
fn a_complaint_of_the_server_is_passed_on() {
    let answer = |status, body: &'static str| {
        let body = bytes::Bytes::from_static(body.as_bytes());
        Ok(HttpResponse { status, body, retry_after: Some(Duration::from_secs(3)) })
    };
    let complaint = r#"{"code":4,"message":"Forbidden"}"#;
    for (status, body, code, reason) in [
        (403, complaint, CloseCode::UNAUTHORIZED, "the server answered 403: Forbidden"),
        (503, "busy", CloseCode::ABNORMAL, "the server answered 503"),
        (200, "", CloseCode::BAD_FRAME, "the server did not begin with an open packet"),
        (200, "0{}", CloseCode::BAD_FRAME, "the open packet needs the field `sid`: a string"),
        (200, "b?", CloseCode::BAD_FRAME, "binary packet is not valid base64"),
    ] {
        let mut hand = Hand::new(config());
        hand.answer_get(answer(status, body));
        let Some(TransportOutput::Closed { close, .. }) = hand.happened.last() else {
            panic!("{status} {body} did not end it")
        };
        assert_eq!((close.code, close.reason.as_str()), (code, reason));
        let wait = (status != 200).then_some(Duration::from_secs(3));
        assert_eq!(close.delay, wait);
    }
}

#[test]
fn a_request_that_fails_ends_the_session() {
    let mut hand = Hand::polling();
    hand.send("4a");
    let get = hand.gets[0];
    let (post, _) = hand.posts.remove(0);
    hand.answer(post, Err(broken()));
    assert_eq!(hand.end(), Some((CloseReason::TransportError, "broken")));
    assert_eq!(hand.aborted, [get]);
    let mut hand = Hand::polling();
    hand.answer_get(ok("4a\x1e1\x1e4b"));
    let expected = (CloseReason::TransportClose, "the server closed the connection");
    assert_eq!(hand.end(), Some(expected));
    assert_eq!(hand.frames(), [text("4a")]);
}

#[test]
fn last_words_are_sent_before_the_goodbye() {
    let mut hand = Hand::polling();
    hand.send("4a");
    hand.transport.send(text("4b"));
    hand.transport.close(at(10), &broken());
    hand.drain();
    assert_eq!(hand.answer_post(), "4a");
    assert_eq!(hand.answer_post(), "4b\x1e1");
    assert!(hand.end().is_some_and(|(reason, _)| reason == CloseReason::ForcedClose));
    assert!(hand.transport.is_over());
    assert_eq!(hand.aborted, hand.gets, "the poll is given up");

    let mut hand = Hand::polling();
    hand.transport.close(at(10), &broken());
    hand.drain();
    assert_eq!(hand.transport.next_timeout(), Some(at(2_010)));
    hand.transport.handle_timeout(at(2_010));
    hand.drain();
    assert!(hand.transport.is_over(), "they are not waited for forever");
}
