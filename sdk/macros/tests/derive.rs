//! What derived events do.

use std::fmt::Display;

use tidings_core::{FieldProblem, NameError, Pattern, Priority, TypedEvent};
use tidings_macros::Event;

#[derive(Event)]
#[event(name = "orders.{region}.created", priority = "high", crate = "tidings_core")]
struct OrderCreated {
    region: String,
}

#[derive(Event)]
#[event(name = "{0}.moved.{1}", crate = "tidings_core")]
struct Moved(u8, &'static str);

#[derive(Event)]
#[event(name = "system.started")]
#[event(priority = "critical", crate = "::tidings_core")]
struct Started;

#[derive(Event)]
#[event(name = "kinds.{type}.{type}", crate = "tidings_core", priority = "low")]
struct Kind<T>
where
    T: Display,
{
    r#type: T,
}

#[test]
fn names_patterns_and_priorities() {
    let order = OrderCreated { region: "eu".into() };
    assert_eq!(order.name().unwrap().as_str(), "orders.eu.created");
    assert_eq!(
        (OrderCreated::PATTERN, OrderCreated::PRIORITY),
        ("orders.*.created", Priority::High)
    );
    assert_eq!(Moved(3, "up").name().unwrap().as_str(), "3.moved.up");
    assert_eq!((Moved::PATTERN, Moved::PRIORITY), ("*.moved.*", Priority::Normal));
    assert_eq!(Started.name().unwrap().as_str(), "system.started");
    assert_eq!((Started::PATTERN, Started::PRIORITY), ("system.started", Priority::Critical));
    assert_eq!(Kind { r#type: 'x' }.name().unwrap().as_str(), "kinds.x.x");
    assert_eq!(Kind::<u8>::PRIORITY, Priority::Low);
}

#[test]
fn a_name_always_matches_the_pattern_of_its_type() {
    let pattern = Pattern::new(Moved::PATTERN).unwrap();
    for text in ["up", " ", "été", "x", ""] {
        assert_eq!(
            Moved(1, text).name().is_ok_and(|name| pattern.matches(&name)),
            !text.is_empty()
        );
    }
}

#[test]
fn values_that_would_become_another_name_are_errors() {
    for (region, problem) in [
        ("eu.west", FieldProblem::Separator),
        (".", FieldProblem::Separator),
        ("", FieldProblem::Empty),
        ("*", FieldProblem::Wildcard),
        ("**", FieldProblem::Wildcard),
    ] {
        let error = OrderCreated { region: region.into() }.name().unwrap_err();
        assert_eq!(error, NameError::Field { field: "region", problem });
    }
    let long = OrderCreated { region: "x".repeat(250) };
    assert!(matches!(long.name(), Err(NameError::TooLong { .. })));
    let control = OrderCreated { region: "a\tb".into() };
    assert!(matches!(control.name(), Err(NameError::Control { .. })));
}
