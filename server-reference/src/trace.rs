//! The traces that events belong to (W3C Trace Context): a header of an event, from its publisher to
//! its subscribers, and a field of what is logged.

use tidings_core::Event;

/// The header that names the trace.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The header with what else belongs to it.
pub(crate) const TRACESTATE: &str = "tracestate";

/// The id of the trace in a `traceparent`: `VERSION-TRACE-PARENT-FLAGS`, all in lowercase hexadecimal.
/// `None` if it is none.
pub(crate) fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let mut part = |len: usize| {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        parts.next().filter(|part| part.len() == len && part.bytes().all(is_hex))
    };
    let (version, trace, parent) = (part(2)?, part(32)?, part(16)?);
    part(2)?;
    let is_something = |id: &str| id.bytes().any(|digit| digit != b'0');
    // Later versions may have more parts.
    let is_whole = version != "00" || parts.next().is_none();
    let is_one = version != "ff" && is_something(trace) && is_something(parent) && is_whole;
    is_one.then_some(trace)
}

/// An event is published: its trace is told, if it belongs to one.
pub(crate) fn published(event: &Event) {
    if let Some(trace_id) = event.headers.get(TRACEPARENT).and_then(trace_id) {
        tracing::debug!(name = %event.name, trace_id, "publishing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_told_apart_from_what_is_none() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{trace}-00f067aa0ba902b7-01")), Some(trace));
        assert_eq!(trace_id(&format!("01-{trace}-00f067aa0ba902b7-01-more")), Some(trace));
        for wrong in [
            String::new(),
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        ] {
            assert_eq!(trace_id(&wrong), None, "{wrong}");
        }
    }
}
