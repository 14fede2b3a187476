//! What is read, and from where.

use super::*;

#[test]
fn a_hole_between_notices_is_read() {
    let mut played = Played::readable_at(10);
    played.hear(&notice(&[(1, 20, 10)]));
    assert_eq!(played.offsets(10), [20]);
    played.hear(&notice(&[(3, 40, 30)]));
    assert_eq!(played.offsets(10), [20], "40 comes after what is missing");
    let (id, request) = played.one();
    let Request::Read { from, .. } = request else { panic!("{request:?}") };
    assert_eq!(from, Offset(START + 20));
    played.read(id, 40, vec![entry(2, 30, None), entry(3, 40, None)]);
    assert_eq!(played.offsets(10), [20, 30, 40]);
    assert_eq!(played.new, 2);
}

#[test]
fn what_a_client_has_seen_elsewhere_is_read_before_it_is_said_to_be_all() {
    let mut played = Played::readable_at(10);
    played.act(|partition, now| assert!(!partition.reaches(now, NORMAL, place(30))));
    let (id, _) = played.one();
    played.read(id, 20, vec![entry(1, 20, None)]);
    played.act(|partition, now| assert!(partition.reaches(now, NORMAL, place(30))));
    assert!(played.asked.is_empty(), "30 was a time, and nothing is there");
    assert_eq!(played.offsets(10), [20]);
}

#[test]
fn a_notice_that_was_lost_is_found_when_heads_are_compared() {
    let mut played = Played::readable_at(10);
    played.wait();
    let look = played.one();
    played.stands(look, 20);
    let reads = std::mem::take(&mut played.asked);
    assert_eq!(reads.len(), Priority::COUNT, "all lanes are behind");
    for (id, request) in reads {
        let Request::Read { lane, .. } = request else { panic!("{request:?}") };
        let entries = if lane.priority() == NORMAL { vec![entry(1, 20, None)] } else { vec![] };
        played.read(id, 20, entries);
    }
    assert_eq!(played.offsets(10), [20]);
}

#[test]
fn a_notice_that_comes_before_the_answer_is_no_loss() {
    let mut played = Played::readable_at(10);
    played.wait();
    let look = played.one();
    played.hear(&notice(&[(1, 20, 10)]));
    played.stands(look, 10);
    assert!(played.asked.is_empty(), "{:?}", played.asked);
}

#[test]
fn older_events_are_read_once_for_all_who_wait() {
    let mut played = Played::readable_at(10);
    let mut out = Vec::new();
    for after in [5, 3, 4] {
        let read = played.partition.read(played.now, NORMAL, place(after), 9, &mut out);
        assert_eq!(read, Read::Later);
    }
    played.act(|_, _| {});
    let (id, request) = played.one();
    assert!(matches!(request, Request::Read { direction: Direction::UpTo, .. }));
    played.read(id, 10, vec![entry(2, 7, None), entry(1, 4, None)]);
    assert_eq!(played.offsets(3), [4, 7]);
    assert!(played.asked.is_empty());
}

#[test]
fn who_does_not_want_it_any_more_does_not_read_it() {
    let mut played = Played::readable_at(10);
    for _ in 0..100 {
        played.wait();
        if !played.readable {
            assert_eq!(played.subscription, None);
            return;
        }
        let look = played.one();
        played.stands(look, 10);
    }
    panic!("it is read for ever");
}

#[test]
fn a_subscription_that_ends_is_made_again_and_followed_by_a_read() {
    let mut played = Played::readable_at(10);
    let first = played.subscription.unwrap();
    played.act(|partition, now| partition.unsubscribed(now, first));
    played.wait();
    let second = played.subscription.unwrap();
    assert_ne!(first, second);
    played.act(|partition, now| partition.unsubscribed(now, first));
    played.act(|partition, now| partition.subscribed(now, second));
    let look = played.one();
    played.stands(look, 10);
    assert_eq!(played.asked.len(), Priority::COUNT);
}
