//! Events on Kubernetes objects (`events.k8s.io/v1`).
//!
//! Unlike kube's own recorder, the text is part of what makes two events equal: `announcing … with protocol "bgp"` must
//! not be counted as a repetition of `… "layer2"`.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use lru::LruCache;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::apply;
use crate::cause::explain;
use crate::tasks::Spawner;

pub use kube::runtime::events::EventType;

/// An event repeated within this time is counted on the first one (as client-go and kube do).
const SERIES_TTL: Duration = Duration::from_secs(6 * 60);
/// How many events are remembered for that (as in client-go).
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Events that [`Recorder::emit`] sends at a time, so that a restart does not flood the API server.
const IN_FLIGHT: usize = 8;
/// Events that wait to be sent; those beyond are dropped, since nobody waits for them.
const WAITING: usize = 8192;
/// Longest text that `events.k8s.io/v1` takes.
const NOTE_LIMIT: usize = 1024;

/// Publishes events in the name of one component; clones share the memory of what was published.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    controller: String,
    instance: String,
    published: Arc<Mutex<LruCache<Key, Published>>>,
    keys: Arc<[RandomState; 2]>,
    waiting: mpsc::Sender<Packed>,
}

/// An event that waits to be sent.
#[derive(Deserialize, Serialize)]
struct Waiting<'a> {
    object: Cow<'a, ObjectReference>,
    warning: bool,
    reason: Cow<'a, str>,
    action: Cow<'a, str>,
    note: Cow<'a, str>,
}

/// The same as JSON, in one piece of memory: after a start thousands wait.
type Packed = Box<[u8]>;

/// Stands for all that makes two events equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key([u64; 2]);

#[derive(Clone, Copy, Debug)]
struct Published {
    /// When it was published first, which is part of its name.
    at: Timestamp,
    count: i32,
    last: Instant,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("controller", &self.controller)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// Creates a recorder: `controller` is the component (`metallb-speaker`), `instance` the Pod or node. What is left with
    /// [`emit`](Self::emit) is sent by one of `tasks`. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(client: Client, controller: &str, instance: &str, tasks: &Spawner) -> Self {
        let instance = if instance.is_empty() { controller } else { instance };
        let (waiting, left) = mpsc::channel(WAITING);
        let recorder = Self {
            client,
            controller: controller.to_owned(),
            instance: instance.to_owned(),
            published: Arc::new(Mutex::new(LruCache::new(REMEMBERED))),
            keys: Arc::new([RandomState::new(), RandomState::new()]),
            waiting,
        };
        tasks.spawn("events", recorder.clone().send(left, tasks.stop().clone()));
        recorder
    }

    /// Publishes without waiting; failures are logged.
    pub fn emit(&self, object: &ObjectReference, type_: EventType, reason: &str, action: &str, note: &str) {
        let event = Waiting {
            object: Cow::Borrowed(object),
            warning: type_ == EventType::Warning,
            reason: reason.into(),
            action: action.into(),
            note: note.into(),
        };
        // Texts are always JSON.
        let Ok(packed) = serde_json::to_vec(&event) else { return };
        // At the end of the process there is nobody to send it any more.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.waiting.try_send(packed.into()) {
            warn!(
                event = "eventDropped",
                reason,
                name = object.name,
                "too many events wait to be sent"
            );
        }
    }

    /// Sends what was left, until `stop`.
    async fn send(self, left: mpsc::Receiver<Packed>, stop: CancellationToken) -> anyhow::Result<()> {
        let events = stream::unfold(left, async |mut left| Some((left.recv().await?, left)));
        let sending = events.for_each_concurrent(IN_FLIGHT, |event| {
            let recorder = self.clone();
            async move { recorder.send_one(event).await }
        });
        stop.run_until_cancelled(sending).await;
        Ok(())
    }

    async fn send_one(&self, packed: Packed) {
        let Ok(event) = serde_json::from_slice::<Waiting<'_>>(&packed) else {
            return;
        };
        let Waiting {
            object,
            warning,
            reason,
            action,
            note,
        } = event;
        let type_ = if warning { EventType::Warning } else { EventType::Normal };
        if let Err(error) = self.publish(&object, type_, &reason, &action, &note).await {
            let (reason, name) = (&*reason, object.name.as_deref());
            warn!(event = "eventFailed", reason, name, error = explain(&error));
        }
    }

    /// Publishes an event on `object`; a repetition within six minutes raises the count of the first.
    ///
    /// `note` is cut to the 1024 bytes that the API takes.
    ///
    /// # Errors
    /// When the API server refuses or cannot be reached.
    pub async fn publish(
        &self,
        object: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) -> Result<(), kube::Error> {
        let note = &note[..note.floor_char_boundary(NOTE_LIMIT)];
        let event = Waiting {
            object: Cow::Borrowed(object),
            warning: type_ == EventType::Warning,
            reason: reason.into(),
            action: action.into(),
            note: note.into(),
        };
        let key = self.key(&event);
        let api: Api<Event> = Api::namespaced(self.client.clone(), object.namespace.as_deref().unwrap_or("default"));
        let earlier = self.recall(&key).await;
        let published = match earlier {
            Some(earlier) => match repeat(&api, &self.name(object, earlier.at), earlier).await {
                // The first event expired or was deleted.
                Err(kube::Error::Api(status)) if status.code == 404 => self.create(&api, &event).await?,
                other => other?,
            },
            None => self.create(&api, &event).await?,
        };
        self.published.lock().await.put(key, published);
        Ok(())
    }

    fn key(&self, event: &Waiting<'_>) -> Key {
        let object = &event.object;
        let about = (&object.uid, &object.kind, &object.namespace, &object.name);
        let all = (about, event.warning, &event.reason, &event.action, &event.note);
        // Two hashes with keys of their own: that two events have both in common does not happen.
        Key([0, 1].map(|of: usize| self.keys[of].hash_one(all)))
    }

    fn name(&self, object: &ObjectReference, at: Timestamp) -> String {
        let object = object.name.as_deref().unwrap_or(&self.controller);
        format!("{object}.{:x}", at.as_nanosecond())
    }

    async fn recall(&self, key: &Key) -> Option<Published> {
        let mut published = self.published.lock().await;
        let earlier = published.get(key).filter(|event| event.last.elapsed() < SERIES_TTL);
        earlier.copied()
    }

    async fn create(&self, api: &Api<Event>, said: &Waiting<'_>) -> Result<Published, kube::Error> {
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(self.name(&said.object, now)),
                namespace: api.namespace().map(ToOwned::to_owned),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(self.controller.clone()),
            reporting_instance: Some(self.instance.clone()),
            action: Some(said.action.to_string()),
            reason: Some(said.reason.to_string()),
            note: Some(said.note.to_string()),
            type_: Some(if said.warning { "Warning" } else { "Normal" }.to_owned()),
            regarding: Some(ObjectReference::clone(&said.object)),
            ..Event::default()
        };
        apply::create(api, &PostParams::default(), &event).await?;
        Ok(Published {
            at: now,
            count: 1,
            last: Instant::now(),
        })
    }
}

async fn repeat(api: &Api<Event>, name: &str, earlier: Published) -> Result<Published, kube::Error> {
    let count = earlier.count + 1;
    let series = EventSeries {
        count,
        last_observed_time: MicroTime(Timestamp::now()),
    };
    api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"series": series})))
        .await?;
    Ok(Published {
        at: earlier.at,
        count,
        last: Instant::now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Tasks;
    use crate::testing::{Call, Calls, client};

    fn service() -> ObjectReference {
        ObjectReference {
            kind: Some("Service".into()),
            namespace: Some("default".into()),
            name: Some("web".into()),
            ..ObjectReference::default()
        }
    }

    fn recorder() -> (Recorder, Calls, Tasks) {
        let (client, calls) = client(|_| Call::ok(&json!({"metadata": {"name": "web.1"}, "eventTime": null})));
        let tasks = Tasks::new(CancellationToken::new());
        (
            Recorder::new(client, "metallb-speaker", "node-a", &tasks.spawner()),
            calls,
            tasks,
        )
    }

    async fn publish(recorder: &Recorder, note: &str) {
        recorder
            .publish(&service(), EventType::Normal, "nodeAssigned", "Announce", note)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn an_event_carries_reporter_object_and_text() {
        let (recorder, calls, _tasks) = recorder();
        publish(&recorder, "announcing").await;
        let call = &calls.all()[0];
        assert_eq!(
            (call.method.as_str(), call.path.as_str()),
            ("POST", "/apis/events.k8s.io/v1/namespaces/default/events")
        );
        assert_eq!(call.body["reportingController"], "metallb-speaker");
        assert_eq!(call.body["reportingInstance"], "node-a");
        assert_eq!(call.body["regarding"]["name"], "web");
        assert_eq!(
            (&call.body["type"], &call.body["note"]),
            (&json!("Normal"), &json!("announcing"))
        );
    }

    #[tokio::test]
    async fn a_repetition_raises_the_count_of_the_first() {
        let (recorder, calls, _tasks) = recorder();
        for _ in 0..3 {
            publish(&recorder, "announcing").await;
        }
        let methods: Vec<_> = calls.all().iter().map(|call| call.method.clone()).collect();
        assert_eq!(methods, ["POST", "PATCH", "PATCH"]);
        assert_eq!(calls.all()[2].body["series"]["count"], 3);
    }

    #[tokio::test]
    async fn another_text_is_another_event() {
        let (recorder, calls, _tasks) = recorder();
        publish(&recorder, "with protocol \"layer2\"").await;
        publish(&recorder, "with protocol \"bgp\"").await;
        assert!(calls.all().iter().all(|call| call.method == "POST"));
    }

    #[tokio::test]
    async fn a_vanished_first_event_is_made_anew() {
        let (client, calls) = client(|call| match call.method.as_str() {
            "PATCH" => Call::not_found(),
            _ => Call::ok(&json!({"metadata": {"name": "web.1"}, "eventTime": null})),
        });
        let tasks = Tasks::new(CancellationToken::new());
        let recorder = Recorder::new(client, "metallb-speaker", "", &tasks.spawner());
        publish(&recorder, "announcing").await;
        publish(&recorder, "announcing").await;
        let methods: Vec<_> = calls.all().iter().map(|call| call.method.clone()).collect();
        assert_eq!(methods, ["POST", "PATCH", "POST"]);
    }

    #[tokio::test]
    async fn a_long_text_is_cut_at_a_character() {
        let (recorder, calls, _tasks) = recorder();
        publish(&recorder, &"é".repeat(800)).await;
        assert_eq!(calls.all()[0].body["note"].as_str().map(str::len), Some(1024));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_sent_and_no_more_than_may_wait_is_kept() {
        let (recorder, calls, _tasks) = recorder();
        for number in 0..WAITING + 5 {
            let note = number.to_string();
            recorder.emit(&service(), EventType::Normal, "nodeAssigned", "Announce", &note);
        }
        // Time passes only when nothing is left to do.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(calls.all().len(), WAITING);
    }
}
