//! What is published, and how it is answered.

use super::*;

#[test]
fn what_waits_goes_out_together_and_one_request_at_a_time() {
    let mut played = Played::readable_at(10);
    for number in 1..=3 {
        played.publish(number);
    }
    let (id, first) = played.one_append();
    assert_eq!((numbers(&first), first.known), (vec![1], place(10)));
    played.done(id, 20, &[fresh(20)]);
    let (id, second) = played.one_append();
    assert_eq!((numbers(&second), second.given), (vec![2, 3], Offset(START + 20)));
    played.done(id, 22, &[fresh(21), Outcome::Known(Offset(START + 15))]);
    let offsets: Vec<_> = played
        .results
        .iter()
        .map(|(_, result)| result.as_ref().unwrap().offset.0 - START)
        .collect();
    assert_eq!(offsets, [20, 21, 15]);
    assert_eq!((played.partition.counts().appended, played.partition.counts().duplicates), (2, 1));
}

#[test]
fn what_failed_is_sent_again_as_it_was_until_its_time_is_over() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.publish(2);
    played.fail(id);
    assert!(played.asked.is_empty(), "after a pause");
    played.wait();
    let (id, again) = played.one_append();
    assert_eq!(numbers(&again), [1]);
    played.fail(id);
    played.pass(Duration::from_secs(15));
    let refused: Vec<_> = played.results.iter().map(|(number, _)| *number).collect();
    assert_eq!(refused, [1, 2]);
    assert!(played.results.iter().all(|(_, result)| result.is_err()));
}

#[test]
fn what_was_published_after_something_refused_is_refused_until_that_comes_again() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.pass(Duration::from_secs(10));
    played.publish(2);
    played.pass(Duration::from_secs(5));
    played.fail(id);
    let refused = |played: &Played| played.results.iter().map(|(n, _)| *n).collect::<Vec<_>>();
    assert_eq!(refused(&played), [1, 2], "2 has waited for 5 seconds only");
    played.publish(3);
    assert_eq!(refused(&played), [1, 2, 3], "it was sent before its client heard of that");
    let reads = std::mem::take(&mut played.asked);
    assert!(reads.iter().all(|(_, request)| matches!(request, Request::Look { .. })));
    for number in 1..=3 {
        played.publish(number);
    }
    played.wait();
    assert_eq!(numbers(&played.one_append().1), [1, 2, 3]);
}

/// One that has refused 1, of which the producer has heard elsewhere that it is in the log.
fn without_1() -> Played {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.pass(Duration::from_secs(15));
    played.fail(id);
    assert_eq!(std::mem::take(&mut played.results).len(), 1);
    played.asked.clear();
    played
}

#[test]
fn what_comes_once_more_does_not_wait_for_what_went_elsewhere() {
    let mut played = without_1();
    for number in [2, 3] {
        played.publish(number);
    }
    assert_eq!(played.results.len(), 2, "1 may still come");
    for number in [2, 3] {
        played.publish(number);
    }
    assert_eq!(played.results.len(), 2, "it would have come before 2");
    played.wait();
    assert_eq!(numbers(&played.one_append().1), [2, 3]);
}

#[test]
fn what_was_refused_in_between_keeps_its_order_when_nothing_more_is_waited_for() {
    let mut played = without_1();
    played.pass(Duration::from_secs(5));
    played.publish(2);
    played.pass(Duration::from_secs(5));
    played.asked.clear();
    played.publish(3);
    assert_eq!(played.results.len(), 2, "2 is on its way again");
    for number in [2, 3] {
        played.publish(number);
    }
    assert_eq!(played.results.len(), 2);
}

#[test]
fn what_has_not_come_since_the_first_was_refused_is_refused_once() {
    let mut played = Played::readable_at(10);
    for number in [1, 2] {
        played.publish(number);
    }
    let (id, _) = played.one_append();
    played.pass(Duration::from_secs(15));
    played.fail(id);
    assert_eq!(played.results.len(), 2);
    // Sent by another connection, whose producer has not heard of that yet.
    played.publish(2);
    assert_eq!(played.results.len(), 3, "it comes again after 1");
    for number in [1, 3, 2, 3] {
        played.publish(number);
    }
    assert_eq!(played.results.len(), 4, "3 comes again after 2");
}

#[test]
fn a_producer_that_does_not_send_again_is_not_held_back() {
    let mut played = Played::readable_at(10);
    let publish = |played: &mut Played, producer: &str, number: u64, sends_again: bool| {
        let published = Published { producer: producer.into(), ..published(number) };
        played.act(|partition, now| {
            partition.publish(now, NORMAL, published, sends_again, number);
        });
    };
    publish(&mut played, "client", 1, true);
    publish(&mut played, "service", 2, false);
    let (id, _) = played.one_append();
    played.pass(Duration::from_secs(10));
    publish(&mut played, "client", 3, true);
    publish(&mut played, "service", 4, false);
    played.pass(Duration::from_secs(5));
    played.fail(id);
    publish(&mut played, "client", 5, true);
    publish(&mut played, "service", 6, false);
    let refused: Vec<_> = played.results.iter().map(|(number, _)| *number).collect();
    assert_eq!(refused, [1, 2, 3, 5]);
    played.asked.clear();
    played.wait();
    assert_eq!(numbers(&played.one_append().1), [4, 6]);
}

#[test]
fn what_is_refused_is_refused_by_every_connection_it_came_by() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.pass(Duration::from_secs(10));
    for number in 1..=2 {
        played.publish(number);
    }
    played.pass(Duration::from_secs(5));
    played.fail(id);
    let refused: Vec<_> = played.results.iter().map(|(number, _)| *number).collect();
    assert_eq!(refused, [1, 1, 2], "who waits for the second 1 sends it again before 2");
    played.asked.clear();
    for number in 1..=2 {
        played.publish(number);
    }
    played.wait();
    assert_eq!(numbers(&played.one_append().1), [1, 2]);
}

#[test]
fn a_critical_event_waits_for_a_replica() {
    let mut played = Played::readable_at(10);
    played.act(|partition, now| partition.publish(now, Priority::Critical, published(1), true, 1));
    let (append, _) = played.one_append();
    played.done(append, 20, &[fresh(20)]);
    let (id, request) = played.one();
    assert!(matches!(request, Request::Replicate { after } if after == append));
    assert!(played.results.is_empty());
    played.fail(id);
    played.wait();
    let (append, again) = played.one_append();
    assert_eq!(numbers(&again), [1], "no replica had it: once more");
    played.done(append, 20, &[Outcome::Known(Offset(START + 20))]);
    let (id, _) = played.one();
    played.act(|partition, now| partition.answered(now, id, Ok(Answer::Replicated)));
    assert!(played.results[0].1.is_ok());
}
