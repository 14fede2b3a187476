//! Tells a request that a browser makes again by itself from a new one.
//!
//! Where a kept connection breaks before an answer has begun, browsers send the request once more
//! on another one and tell neither page nor server (RFC 9110, section 9.2.2, allows it for a GET;
//! they do it with a POST, too). The query's `t`, which clients make anew for each request, is then
//! the same.

use bytes::Bytes;

/// How the last request of each kind of a session was answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Repeats {
    /// Whether the client has been seen to change its `t`: some never do.
    varied: bool,
    get: Last<Bytes>,
    post: Last<()>,
}

/// The last request of a kind.
#[derive(Debug, Clone)]
struct Last<T> {
    stamp: Option<Box<str>>,
    /// Once it is answered.
    answer: Option<T>,
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self { stamp: None, answer: None }
    }
}

impl<T: Clone> Last<T> {
    fn answer_to(&self, stamp: Option<&str>) -> Option<T> {
        let is_known = stamp.is_some() && self.stamp.as_deref() == stamp;
        self.answer.clone().filter(|_| is_known)
    }

    fn begin(&mut self, stamp: Option<&str>) {
        *self = Self { stamp: stamp.map(Into::into), answer: None };
    }

    fn is_other_than(&self, stamp: &str) -> bool {
        self.stamp.as_deref().is_some_and(|known| known != stamp)
    }
}

impl Repeats {
    /// A GET has come: the answer that it was given before; a new one has none.
    pub(super) fn get(&mut self, stamp: Option<&str>) -> Option<Bytes> {
        self.look_at(stamp);
        let answer = self.get.answer_to(stamp).filter(|_| self.varied);
        if answer.is_none() {
            self.get.begin(stamp);
        }
        answer
    }

    /// The last GET is answered.
    pub(super) fn got(&mut self, answer: &Bytes) {
        if self.get.stamp.is_some() {
            self.get.answer = Some(answer.clone());
        }
    }

    /// A POST has come: whether what it brings has been taken in before.
    pub(super) fn post(&mut self, stamp: Option<&str>) -> bool {
        self.look_at(stamp);
        let is_taken = self.post.answer_to(stamp).is_some() && self.varied;
        if !is_taken {
            self.post.begin(stamp);
        }
        is_taken
    }

    /// What the last POST has brought is taken in.
    pub(super) const fn taken(&mut self) {
        self.post.answer = Some(());
    }

    fn look_at(&mut self, stamp: Option<&str>) {
        let Some(stamp) = stamp else { return };
        self.varied |= self.get.is_other_than(stamp) || self.post.is_other_than(stamp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_has_the_same_answer() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.get(Some("a")), None);
        repeats.got(&Bytes::from_static(b"first"));
        assert!(!repeats.post(Some("b")));
        repeats.taken();
        assert_eq!(repeats.get(Some("a")).as_deref(), Some(&b"first"[..]));
        assert_eq!(repeats.get(Some("a")).as_deref(), Some(&b"first"[..]), "as often as it comes");
        assert!(repeats.post(Some("b")));
        assert_eq!(repeats.get(Some("c")), None);
        assert_eq!(repeats.get(Some("c")), None, "not answered yet");
        assert_eq!(repeats.get(Some("a")), None, "that was before the last one");
        assert!(!repeats.post(Some("d")));
        assert!(!repeats.post(Some("d")), "not taken in");
    }

    #[test]
    fn who_never_changes_it_makes_new_requests() {
        let mut repeats = Repeats::default();
        for stamp in [None, Some("always"), None, Some("always")] {
            assert_eq!(repeats.get(stamp), None);
            repeats.got(&Bytes::from_static(b"6"));
            assert!(!repeats.post(stamp));
            repeats.taken();
        }
    }
}
