//! What all instances are asked: each answers for itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use crate::app::App;
use crate::backplane::{Channel, Channels, Ear};
use crate::ids::random_id;
use crate::stats::{
    ClusterSessionPage, InstanceStats, Mark, SessionDetail, SessionPage, SessionQuery,
};

/// How many questions of others are worked on at once; whoever asks beyond that gets no answer.
const AT_ONCE: usize = 16;

/// Asks the other instances, and answers them.
pub(crate) struct Instances {
    channels: Option<Arc<dyn Channels>>,
    /// What all instances hear.
    questions: Channel,
    /// What this one hears.
    answers: Channel,
    asked: Mutex<HashMap<String, mpsc::UnboundedSender<Answer>>>,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// For a page of sessions.
    Sessions(SessionQuery),
    /// For all about the session that is shown by this id.
    Session(String),
    /// For the statistics of now and of so many last seconds.
    Stats(usize),
    /// For the marks that are known.
    Marks,
    /// To keep this mark.
    Mark(Mark),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Sessions(SessionPage),
    Session(Option<Box<SessionDetail>>),
    /// [`InstanceStats`], passed on as they are.
    Stats(Box<RawValue>),
    Marks(Vec<Mark>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    id: String,
    /// The channel for the answers.
    answers: String,
    ask: Ask,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    question: String,
    instance: String,
    said: Said,
}

/// What instances have answered.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) said: Vec<Said>,
    /// The instances that have not answered within `timeouts.sessions`.
    pub(crate) missing: BTreeSet<String>,
}

impl Instances {
    pub(crate) fn new(prefix: &str, channels: Option<Arc<dyn Channels>>) -> Arc<Self> {
        Arc::new(Self {
            channels,
            questions: Channel::sharded(format!("{prefix}:instances")),
            answers: Channel::sharded(format!("{prefix}:instances:{}", random_id())),
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

    /// Asks all instances, this one included.
    pub(crate) async fn ask(&self, app: &App, ask: Ask) -> Gathered {
        let own = &app.config.instance;
        let instances = app.backplane.status().redis.map(|redis| redis.instances);
        let others = instances.into_iter().flatten().map(|info| info.instance);
        let mut missing: BTreeSet<String> = others.filter(|name| name != own).collect();
        let mut said: Vec<Said> = answer(app, &ask).into_iter().collect();
        if let Some(channels) = self.channels.as_ref().filter(|_| !missing.is_empty()) {
            let (sender, mut answers) = mpsc::unbounded_channel();
            let asked = Asked { instances: self, id: random_id() };
            self.asked.lock().insert(asked.id.clone(), sender);
            let name = self.answers.name.to_string();
            let question = Question { id: asked.id.clone(), answers: name, ask };
            channels.publish(self.questions.clone(), written(&question));
            let gathering = async {
                while let Some(answer) = answers.recv().await {
                    if missing.remove(&answer.instance) {
                        said.push(answer.said);
                    }
                    if missing.is_empty() {
                        return;
                    }
                }
            };
            // Those that have not answered by then are named.
            let _ = tokio::time::timeout(app.config.timeouts.sessions, gathering).await;
        }
        Gathered { said, missing }
    }

    /// The sessions of all instances.
    pub(crate) async fn sessions(&self, app: &App, query: SessionQuery) -> ClusterSessionPage {
        let limit = query.limit;
        let Gathered { said, missing } = self.ask(app, Ask::Sessions(query)).await;
        let pages = said.into_iter().filter_map(|said| match said {
            Said::Sessions(page) => Some(page),
            _ => None,
        });
        ClusterSessionPage { page: SessionPage::merge(pages, limit), missing }
    }
}

/// What this instance says.
fn answer(app: &App, ask: &Ask) -> Option<Said> {
    match ask {
        Ask::Sessions(query) => Some(Said::Sessions(SessionPage::of(app, query))),
        Ask::Session(id) => Some(Said::Session(SessionDetail::of(app, id).map(Box::new))),
        Ask::Stats(seconds) => {
            let stats = serde_json::value::to_raw_value(&InstanceStats::of(app, *seconds));
            stats.ok().map(Said::Stats)
        }
        Ask::Marks => Some(Said::Marks(app.stats.marks())),
        Ask::Mark(mark) => {
            app.stats.mark(mark.clone());
            Some(Said::Marks(Vec::new()))
        }
    }
}

fn written(value: &impl Serialize) -> Bytes {
    // Neither has anything in it that JSON cannot express.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Nothing is remembered of a question once this is dropped.
struct Asked<'a> {
    instances: &'a Instances,
    id: String,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.instances.asked.lock().remove(&self.id);
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
        if question.answers == *self.own {
            return;
        }
        let (Some(app), Ok(room)) =
            (self.app.upgrade(), Arc::clone(&self.room).try_acquire_owned())
        else {
            return;
        };
        let channels = Arc::clone(&self.channels);
        self.runtime.spawn(async move {
            if let Some(said) = answer(&app, &question.ask) {
                let instance = app.config.instance.clone();
                let answer = Answer { question: question.id, instance, said };
                channels.publish(Channel::sharded(question.answers), written(&answer));
            }
            drop(room);
        });
    }
}

/// Hears the answers of others.
struct AnswerEar(Weak<Instances>);

impl Ear for AnswerEar {
    fn hear(&self, channel: &str, message: Bytes) {
        let Some(instances) = self.0.upgrade() else { return };
        let answer: Answer = match serde_json::from_slice(&message) {
            Ok(answer) => answer,
            Err(error) => return tracing::warn!(channel, %error, "an answer is not understood"),
        };
        if let Some(asked) = instances.asked.lock().get(&answer.question) {
            // Fails when nobody waits for it any more.
            let _ = asked.send(answer);
        }
    }
}
