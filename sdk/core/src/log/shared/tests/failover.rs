//! What a store that was replaced lacks.

use super::*;

#[test]
fn what_a_failover_lost_is_put_back_where_it_was() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.done(id, 20, &[fresh(20)]);
    played.hear(&notice(&[(1, 20, 10), (2, 30, 20)]));
    played.wait();
    let look = played.one();
    played.stands(look, 10);
    let (id, append) = played.one_append();
    assert!(append.putting_back);
    let places: Vec<_> = append.events.iter().map(|(_, place)| place.unwrap().0 - START).collect();
    assert_eq!((numbers(&append), places), (vec![1, 2], vec![20, 30]));
    played.publish(3);
    assert!(played.asked.is_empty(), "nothing new before that");
    played.done(id, 30, &[fresh(20), fresh(30)]);
    assert_eq!(played.partition.counts().put_back, 2);
    assert!(played.asked.iter().any(|(_, request)| matches!(request, Request::Append(_))));
}

#[test]
fn after_a_takeover_nothing_new_is_appended_before_it_has_settled() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.done(id, 20, &[fresh(20)]);
    let at = played.now.time;
    played.act(|partition, now| partition.taken_over(now, at));
    let (id, append) = played.one_append();
    assert!(append.putting_back, "what was published here");
    played.publish(2);
    played.done(id, 20, &[Outcome::Known(Offset(START + 20))]);
    let reads = std::mem::take(&mut played.asked);
    assert!(reads.iter().all(|(_, request)| matches!(request, Request::Read { .. })));
    played.pass(Duration::from_millis(249));
    assert!(played.asked.is_empty());
    played.pass(Duration::from_millis(1));
    let (_, append) = played.one_append();
    assert_eq!((numbers(&append), append.takeover), (vec![2], Some(at)));
}

#[test]
fn who_makes_steps_puts_back_what_it_has_read_wherever_the_lane_ends() {
    let mut played = Played::readable_at(10);
    assert!(played.partition.footing(played.now, NORMAL).is_some());
    played.hear(&notice(&[(1, 20, 10), (2, 30, 20)]));
    let at = played.now.time;
    played.act(|partition, now| partition.taken_over(now, at));
    let (id, append) = played.one_append();
    assert_eq!((append.putting_back, numbers(&append)), (true, vec![1, 2]));
    assert!(played.partition.footing(played.now, NORMAL).is_none(), "nothing is judged before");
    // Another instance, which knew only what came last, was faster.
    played.done(id, 40, &[fresh(40), Outcome::Known(Offset(START + 30))]);
    assert_eq!(played.partition.counts().put_back, 1);
}

#[test]
fn what_was_noted_is_put_back_after_a_takeover() {
    let mut played = Played::readable_at(10);
    let note = |number| Note {
        of: "todos".into(),
        about: "ann".into(),
        number,
        says: b"{}".to_vec().into(),
    };
    let footing = played.partition.footing(played.now, NORMAL).unwrap();
    let at = place(10);
    let notes: Vec<_> = (1..=200).map(note).collect();
    played.act(|partition, now| partition.stepped(now, NORMAL, footing, at, [], notes));
    let event = (Offset(START + 20), published(1));
    played.act(|partition, now| partition.stepped(now, NORMAL, footing, place(20), [event], []));
    let takeover = played.now.time;
    played.act(|partition, now| partition.taken_over(now, takeover));
    let (id, append) = played.one_append();
    assert_eq!((append.putting_back, numbers(&append)), (true, vec![1]));
    played.done(id, 20, &[fresh(20)]);
    for expected in [1..=128, 129..=200] {
        let (id, Request::PutBackNotes { notes, .. }) = played.one() else { panic!("notes") };
        assert!(notes.iter().map(|note| note.number).eq(expected));
        assert!(played.partition.footing(played.now, NORMAL).is_none(), "nothing is judged yet");
        played.act(|partition, now| partition.answered(now, id, Ok(Answer::Noted)));
    }
    assert!(!played.partition.is_writing());
    // A failover does not lose what is older.
    played.asked.clear();
    played.now.time = played.now.time + Duration::from_secs(61);
    let takeover = played.now.time;
    played.act(|partition, now| partition.taken_over(now, takeover));
    let (id, _) = played.one_append();
    played.done(id, 20, &[Outcome::Known(Offset(START + 20))]);
    assert!(!played.partition.is_writing());
}

#[test]
fn what_the_old_master_took_while_another_took_over_is_put_back() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    let at = played.now.time;
    played.act(|partition, now| partition.taken_over(now, at));
    assert!(played.asked.is_empty(), "nothing is known yet that could be lacking");
    played.done(id, 20, &[fresh(20)]);
    let (_, append) = played.one_append();
    assert_eq!((append.putting_back, numbers(&append)), (true, vec![1]));
}

#[test]
fn a_store_that_is_behind_gets_back_what_it_lacks_first() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.done(id, 20, &[fresh(20)]);
    played.publish(2);
    let (id, append) = played.one_append();
    assert_eq!(append.known, place(20));
    let behind = Answer::Appended(AppendAnswer::Behind(place(10)));
    played.act(|partition, now| partition.answered(now, id, Ok(behind)));
    let (id, append) = played.one_append();
    assert!(append.putting_back);
    played.done(id, 20, &[fresh(20)]);
    let again = played.asked.iter().find_map(|(_, request)| match request {
        Request::Append(append) => Some(append.clone()),
        _ => None,
    });
    assert_eq!(numbers(&again.unwrap()), [2]);
}

#[test]
fn what_came_back_elsewhere_is_not_handed_out_again() {
    let mut played = Played::readable_at(10);
    played.hear(&notice(&[(1, 20, 10)]));
    played.hear(&notice(&[(3, 40, 30)]));
    let (id, _) = played.one();
    played.read(id, 40, vec![entry(1, 30, Some(20)), entry(3, 40, None)]);
    assert_eq!(played.offsets(10), [20, 40]);
    assert_eq!(played.offsets(25), [30, 40], "who has come from elsewhere may not have had it");
}

#[test]
fn another_history_begins_the_copy_again() {
    let mut played = Played::readable_at(10);
    played.wait();
    let (id, _) = played.one();
    let head = Place { epoch: Epoch(8), offset: Offset(START + 50) };
    let standing = Standing { head, floor: head.offset };
    played.act(|partition, now| {
        partition.answered(now, id, Ok(Answer::Standing([standing; Priority::COUNT])));
    });
    assert_eq!(played.new, Priority::COUNT);
    let mut out = Vec::new();
    let Read::Done(Some(gap)) = played.partition.read(played.now, NORMAL, place(10), 9, &mut out)
    else {
        panic!("a gap")
    };
    assert_eq!((gap.epoch, gap.to), (Epoch(8), Offset(START + 50)));
}

#[test]
fn an_end_that_everybody_who_knew_it_has_taken_with_him_is_told_as_a_gap_once() {
    let mut played = Played::readable_at(10);
    played.wait();
    // The replica that took over ends at 5, and nobody knows what was at 10.
    for _ in 0..3 {
        while played.answer_all(5, &[3, 5]) > 0 {}
        played.wait();
    }
    assert_eq!(played.answer_all(5, &[3, 5]), 1, "the heads are compared");
    assert_eq!(played.answer_all(5, &[3, 5]), 0, "and that is all");
    assert_eq!(played.offsets_and_gap(7), (vec![], Some((7, 10))));
    assert_eq!(played.offsets_and_gap(10), (vec![], None));
    let read = played.partition.read(played.now, NORMAL, place(3), 9, &mut Vec::new());
    assert_eq!(read, Read::Later);
    played.act(|_, _| {});
    played.answer_all(5, &[3, 5]);
    assert_eq!(played.offsets_and_gap(3), (vec![5], None));
    assert_eq!(played.offsets_and_gap(5), (vec![], Some((5, 10))));
    played.hear(&notice(&[(1, 20, 5)]));
    assert!(played.asked.is_empty(), "it follows what there is: {:?}", played.asked);
    assert_eq!(played.offsets(10), [20]);
}

#[test]
fn what_is_known_by_its_place_may_still_be_put_back_there() {
    let mut played = Played::readable_at(10);
    played.wait();
    while played.answer_all(5, &[5]) > 0 {}
    // Somebody comes late with it.
    played.hear(&notice(&[(2, 10, 5)]));
    assert_eq!(played.offsets(10), [], "whoever is here has had it");
    played.wait();
    while played.answer_all(10, &[5, 10]) > 0 {}
    assert_eq!(played.offsets(10), []);
    let read = played.partition.read(played.now, NORMAL, place(5), 9, &mut Vec::new());
    assert_eq!(read, Read::Later);
    played.act(|_, _| {});
    played.answer_all(10, &[5, 10]);
    assert_eq!(played.offsets(5), [10]);
}

#[test]
fn what_a_second_failover_loses_is_put_back_as_well() {
    let mut played = Played::readable_at(10);
    played.hear(&notice(&[(1, 20, 10)]));
    for round in 1..=3 {
        played.wait();
        let look = played.one();
        played.stands(look, 10);
        let (id, append) = played.one_append();
        assert!(append.putting_back);
        assert_eq!(numbers(&append), [1], "in round {round}");
        played.done(id, 20, &[fresh(20)]);
        assert_eq!(played.partition.counts().put_back, round);
        // Whether it is there is read, but not answered before the next failover.
        for (id, request) in std::mem::take(&mut played.asked) {
            let Request::Read { lane, .. } = request else { panic!("{request:?}") };
            if lane.priority() != NORMAL {
                played.read_from(id, true, 10, vec![]);
            }
        }
        assert!(!played.partition.is_writing());
        played.asked.clear();
    }
}

#[test]
fn older_events_are_not_read_past_one_that_is_gone_without_a_gap() {
    let mut played = Played::readable_at(10);
    let read = played.partition.read(played.now, NORMAL, place(3), 9, &mut Vec::new());
    assert_eq!(read, Read::Later);
    played.act(|_, _| {});
    let (id, _) = played.one();
    played.read_from(id, false, 5, vec![entry(2, 5, None), entry(1, 3, None)]);
    assert_eq!(
        played.partition.read(played.now, NORMAL, place(3), 9, &mut Vec::new()),
        Read::Later,
        "it may be put back"
    );
    played.hear(&notice(&[(4, 30, 5)]));
    let (id, _) = played.one();
    played.read_from(id, false, 30, vec![entry(4, 30, None)]);
    played.wait();
    let (id, request) = played.one();
    assert!(matches!(request, Request::Read { direction: Direction::UpTo, .. }), "{request:?}");
    played.read_from(id, false, 30, vec![entry(2, 5, None), entry(1, 3, None)]);
    assert_eq!(played.offsets_and_gap(3), (vec![5], None));
    assert_eq!(played.offsets_and_gap(5), (vec![30], Some((5, 10))));
}

#[test]
fn an_instance_whose_clock_is_fast_puts_back_what_it_knows() {
    let mut played = Played::readable_at(10);
    played.hear(&notice(&[(1, 20, 10)]));
    played.now.unix_micros += 120_000_000;
    let at = played.now.time;
    played.publish(2);
    let (id, _) = played.one_append();
    played.done(id, 30, &[fresh(30)]);
    played.act(|partition, now| partition.taken_over(now, at));
    let (_, append) = played.one_append();
    assert_eq!((append.putting_back, numbers(&append)), (true, vec![1, 2]));
}

#[test]
fn a_store_that_has_lost_everything_begins_another_history_before_that_is_read() {
    let mut played = Played::readable_at(10);
    played.hear(&notice(&[(2, 30, 20)]));
    let (id, _) = played.one();
    let nothing = Chunk {
        head: Place::default(),
        floor: Offset(0),
        there: false,
        entries: vec![],
        is_full: false,
    };
    played.act(|partition, now| partition.answered(now, id, Ok(Answer::Chunk(nothing))));
    assert_eq!(played.new, 0);
    assert_eq!(
        played.offsets(10),
        [],
        "the history that ended is not told before the next is known"
    );
    let (_, request) = played.one();
    assert!(matches!(request, Request::Look { .. }), "{request:?}");
}

#[test]
fn who_comes_from_another_history_waits_until_the_store_has_told_which_one_is_over() {
    let mut played = Played::readable_at(10);
    let newer = Place { epoch: Epoch(8), offset: Offset(START + 90) };
    for _ in 0..2 {
        let read = played.partition.read(played.now, NORMAL, newer, 9, &mut Vec::new());
        assert_eq!(read, Read::Later);
    }
    played.act(|_, _| {});
    let look = played.one();
    // A look that was sent before somebody comes says nothing about what he knows.
    let unknown = Place { epoch: Epoch(9), ..newer };
    let read = played.partition.read(played.now, NORMAL, unknown, 9, &mut Vec::new());
    assert_eq!(read, Read::Later);
    played.stands(look, 10);
    let read = played.partition.read(played.now, NORMAL, newer, 9, &mut Vec::new());
    assert!(!matches!(read, Read::Done(None)), "it is another history: {read:?}");
    let look = played.one();
    played.stands(look, 10);
    assert!(played.asked.is_empty() || played.asked.iter().all(is_read_of_older));
}

fn is_read_of_older((_, request): &(RequestId, Request)) -> bool {
    matches!(request, Request::Read { direction: Direction::UpTo, .. })
}

#[test]
fn what_its_publisher_has_sent_again_is_not_handed_out_where_it_was_known() {
    let mut played = Played::readable_at(10);
    played.hear(&notice(&[(1, 20, 10)]));
    // A failover has lost it, and its publisher has sent it to another instance.
    played.hear(&notice(&[(1, 40, 10)]));
    let (id, append) = played.one_append();
    assert!(append.putting_back);
    played.done(id, 40, &[Outcome::Known(Offset(START + 40))]);
    let (id, request) = played.one();
    assert!(matches!(request, Request::Read { .. }), "{request:?}");
    played.read_from(id, false, 50, vec![entry(1, 40, None), entry(2, 50, None)]);
    assert_eq!(played.offsets(10), [20, 50]);
}

/// One at a master that was cut off: it took 20 and 60 while another one took 40 and 50.
fn cut_off_at_60() -> Played {
    let mut played = Played::readable_at(10);
    played.hear(&notice(&[(20, 20, 10), (60, 60, 20)]));
    let at = played.now.time;
    played.act(|partition, now| partition.taken_over(now, at));
    assert_eq!(played.new, 1);
    played
}

#[test]
fn what_another_master_took_meanwhile_is_taken_in_and_told() {
    let mut played = cut_off_at_60();
    assert_eq!(played.answer_all(60, &[20, 40, 50, 60]), 1);
    assert_eq!(played.new, 2);
    assert_eq!(played.partition.counts().missed, 1);
    assert_eq!(played.offsets_and_gap(60), (vec![], Some((39, 61))), "who has come to the end");
    assert_eq!(played.offsets(20), [40, 50, 60], "who comes from before it");
    played.hear(&notice(&[(70, 70, 60)]));
    assert_eq!(played.offsets_and_gap(60), (vec![70], Some((39, 61))));
    assert_eq!(played.offsets(61), [70], "it is told once");
}

#[test]
fn a_copy_that_lacks_nothing_is_told_nothing() {
    let mut played = cut_off_at_60();
    assert_eq!(played.answer_all(60, &[20, 60]), 1);
    assert_eq!((played.new, played.partition.counts().missed), (1, 0));
    assert_eq!(played.offsets(60), [0; 0]);
    assert!(played.asked.is_empty());
}

#[test]
fn a_comparison_that_fails_is_made_again_and_one_of_many_events_goes_on() {
    let mut played = cut_off_at_60();
    let (id, _) = played.one();
    let following = played.subscription;
    played.fail(id);
    assert!(played.asked.is_empty());
    played.now.unix_micros += 180_000_000;
    played.hear(&notice(&[(70, 180_000_000, 60)]));
    played.wait();
    assert_eq!(played.subscription, following, "what comes is heard all the time");
    let (id, request) = played.one();
    let begins = matches!(request, Request::Read { from, .. } if from == place(10).offset);
    assert!(begins, "where the takeover was, not a minute ago");
    let chunk = |is_full, entries: Vec<Entry>| Chunk {
        head: place(60),
        floor: Offset(START),
        there: true,
        entries: entries.into_iter().map(|entry| (entry.offset, Some(entry))).collect(),
        is_full,
    };
    let first = Answer::Chunk(chunk(true, vec![entry(20, 20, None), entry(40, 40, None)]));
    played.act(|partition, now| partition.answered(now, id, Ok(first)));
    assert_eq!(played.partition.counts().missed, 0, "not before all is compared");
    let (id, request) = played.one();
    assert!(matches!(request, Request::Read { from, .. } if from == place(40).offset));
    let second = Answer::Chunk(chunk(false, vec![entry(60, 60, None)]));
    played.act(|partition, now| partition.answered(now, id, Ok(second)));
    assert_eq!(played.offsets_and_gap(60), (vec![180_000_000], None), "that comes first");
    assert_eq!(played.offsets_and_gap(180_000_000), (vec![], Some((39, 180_000_001))));
}
