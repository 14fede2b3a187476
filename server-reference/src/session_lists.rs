//! The sessions of all instances: each is asked for its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use crate::app::App;
use crate::backplane::{Channel, Channels, Ear};
use crate::ids::random_id;
use crate::stats::{SessionPage, SessionPlace};

/// How many questions of others are worked on at once; whoever asks beyond that gets no answer.
const AT_ONCE: usize = 4;

/// Asks the other instances, and answers them.
pub(crate) struct SessionLists {
    channels: Option<Arc<dyn Channels>>,
    /// What all instances hear.
    questions: Channel,
    /// What this one hears.
    answers: Channel,
    asked: Mutex<HashMap<String, mpsc::UnboundedSender<Answer>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    id: String,
    /// The channel for the answers.
    answers: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<SessionPlace>,
    limit: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    question: String,
    instance: String,
    page: SessionPage,
}

/// A page of the sessions of all instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClusterSessionPage {
    /// The sessions of the instances that have answered.
    #[serde(flatten)]
    pub page: SessionPage,
    /// The instances that have not answered within `timeouts.sessions`.
    pub missing: BTreeSet<String>,
}

impl SessionLists {
    pub(crate) fn new(prefix: &str, channels: Option<Arc<dyn Channels>>) -> Arc<Self> {
        Arc::new(Self {
            channels,
            questions: Channel::sharded(format!("{prefix}:sessions")),
            answers: Channel::sharded(format!("{prefix}:sessions:{}", random_id())),
            asked: Mutex::default(),
        })
    }

    /// Answers others from now on.
    pub(crate) fn listen(self: &Arc<Self>, app: &Arc<App>) {
        let Some(channels) = &self.channels else { return };
        let ear = QuestionEar {
            app: Arc::downgrade(app),
            own: Arc::clone(&self.answers.name),
            channels: Arc::clone(channels),
            runtime: Handle::current(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        };
        channels.subscribe(self.questions.clone(), Arc::new(ear));
        channels.subscribe(self.answers.clone(), Arc::new(AnswerEar(Arc::downgrade(self))));
    }

    /// At most `limit` sessions of all instances, those behind `after`.
    pub(crate) async fn page(
        &self,
        app: &App,
        after: Option<SessionPlace>,
        limit: usize,
    ) -> ClusterSessionPage {
        let own = &app.config.instance;
        let instances = app.backplane.status().redis.map(|redis| redis.instances);
        let others = instances.into_iter().flatten().map(|info| info.instance);
        let mut missing: BTreeSet<String> = others.filter(|name| name != own).collect();
        let mut pages = vec![SessionPage::of(app, after.as_ref(), limit)];
        if let Some(channels) = self.channels.as_ref().filter(|_| !missing.is_empty()) {
            let (sender, mut answers) = mpsc::unbounded_channel();
            let asked = Asked { lists: self, id: random_id() };
            self.asked.lock().insert(asked.id.clone(), sender);
            let name = self.answers.name.to_string();
            let question = Question { id: asked.id.clone(), answers: name, after, limit };
            channels.publish(self.questions.clone(), written(&question));
            let gathering = async {
                while let Some(answer) = answers.recv().await {
                    if missing.remove(&answer.instance) {
                        pages.push(answer.page);
                    }
                    if missing.is_empty() {
                        return;
                    }
                }
            };
            // Those that have not answered by then are named.
            let _ = tokio::time::timeout(app.config.timeouts.sessions, gathering).await;
        }
        ClusterSessionPage { page: SessionPage::merge(pages, limit), missing }
    }
}

fn written(value: &impl Serialize) -> Bytes {
    // Neither has anything in it that JSON cannot express.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Nothing is remembered of a question once this is dropped.
struct Asked<'a> {
    lists: &'a SessionLists,
    id: String,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.lists.asked.lock().remove(&self.id);
    }
}

/// Hears what others ask.
struct QuestionEar {
    app: Weak<App>,
    /// The channel for answers to this instance: it does not ask itself.
    own: Arc<str>,
    channels: Arc<dyn Channels>,
    runtime: Handle,
    room: Arc<Semaphore>,
}

impl Ear for QuestionEar {
    fn hear(&self, channel: &str, message: Bytes) {
        let question: Question = match serde_json::from_slice(&message) {
            Ok(question) => question,
            Err(error) => return tracing::warn!(channel, %error, "a question is not understood"),
        };
        let (Some(app), Ok(room)) =
            (self.app.upgrade(), Arc::clone(&self.room).try_acquire_owned())
        else {
            return;
        };
        if question.answers == *self.own {
            return;
        }
        let channels = Arc::clone(&self.channels);
        self.runtime.spawn(async move {
            let limit = question.limit.min(SessionPage::MAX);
            let page = SessionPage::of(&app, question.after.as_ref(), limit);
            let instance = app.config.instance.clone();
            let answer = Answer { question: question.id, instance, page };
            channels.publish(Channel::sharded(question.answers), written(&answer));
            drop(room);
        });
    }
}

/// Hears the answers of others.
struct AnswerEar(Weak<SessionLists>);

impl Ear for AnswerEar {
    fn hear(&self, channel: &str, message: Bytes) {
        let Some(lists) = self.0.upgrade() else { return };
        let answer: Answer = match serde_json::from_slice(&message) {
            Ok(answer) => answer,
            Err(error) => return tracing::warn!(channel, %error, "an answer is not understood"),
        };
        if let Some(asked) = lists.asked.lock().get(&answer.question) {
            // Fails when nobody waits for it any more.
            let _ = asked.send(answer);
        }
    }
}
