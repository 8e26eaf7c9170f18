//! The user's own lines for FRR, and reports of what FRR does not do.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::runtime::events::EventType;
use kube::{Api, Client, Resource as _};
use metallb_api::{ConfigurationState, names};
use metallb_engine::ConfigReport;
use metallb_runtime::events::Recorder;
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch;
use tokio::sync::watch as channel;
use tracing::warn;

use super::model::Shared;
use crate::metrics::Metrics;

/// The key of the ConfigMap with a user's own lines.
const EXTRAS: &str = "extras";
/// Reasons of the events when FRR does not do something that is desired, and when that is over; not upstream's.
const REFUSED: &str = "frrConfigurationRefused";
const RESOLVED: &str = "frrConfigurationResolved";
/// The action in these events.
const ACTION: &str = "ConfigureFRR";

/// Follows the ConfigMap with the user's own lines, until the stop signal.
pub(crate) async fn follow_extras(client: Client, namespace: String, model: Shared, tasks: Spawner) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let only = watch::Config::default().fields(&format!("metadata.name={}", names::BGP_EXTRAS_CONFIG_MAP));
    let mut watched = watch::watch(api, only, &tasks);
    if watched.store.wait_until_ready().await.is_err() {
        return;
    }
    loop {
        let lines = watched
            .store
            .state()
            .into_iter()
            .next()
            .and_then(|map| map.data.clone()?.remove(EXTRAS));
        if lines.as_ref().is_some_and(|lines| !lines.is_empty()) {
            warn!(
                event = "bgpExtras",
                "the ConfigMap bgpextras is used, which is not supported"
            );
        }
        model.set_extras(lines.as_deref());
        if watched.changes.recv().await.is_none() {
            return;
        }
    }
}

/// Adds FRR's problems to the engine's report about the configuration.
pub(crate) struct Teller {
    /// From the engine.
    pub(crate) reports: channel::Receiver<Option<ConfigReport>>,
    /// To the ConfigurationState.
    pub(crate) all: channel::Sender<Option<ConfigReport>>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Arc<Metrics>,
    /// Where the ConfigurationState of this node is.
    pub(crate) namespace: String,
    pub(crate) node: String,
}

/// Reports `problems` until the sender ends. Each is one event when it appears and one when it is over.
pub(crate) async fn tell(mut teller: Teller, mut problems: channel::Receiver<ConfigReport>) {
    let mut told = Vec::new();
    loop {
        // Every arm is cancel-safe.
        tokio::select! {
            changed = problems.changed() => if changed.is_err() { return },
            changed = teller.reports.changed() => if changed.is_err() { return },
        }
        let found = problems.borrow_and_update().clone();
        teller.events(&told, &found.errors);
        let report = teller.reports.borrow_and_update().clone();
        if let Some(mut report) = report {
            report.errors.extend(found.errors.iter().cloned());
            report.doubts.extend(found.doubts);
            teller.all.send_replace(Some(report));
        }
        told = found.errors;
    }
}

impl Teller {
    fn events(&self, before: &[String], now: &[String]) {
        for problem in now.iter().filter(|problem| !before.contains(problem)) {
            self.metrics.failed();
            self.emit(EventType::Warning, REFUSED, problem);
        }
        for problem in before.iter().filter(|problem| !now.contains(problem)) {
            self.emit(EventType::Normal, RESOLVED, &format!("no longer: {problem}"));
        }
    }

    fn emit(&self, type_: EventType, reason: &str, note: &str) {
        self.recorder.emit(&self.state(), type_, reason, ACTION, note);
    }

    fn state(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(ConfigurationState::api_version(&()).into_owned()),
            kind: Some(ConfigurationState::kind(&()).into_owned()),
            name: Some(names::speaker_state(&self.node)),
            namespace: Some(self.namespace.clone()),
            ..ObjectReference::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use http::{Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use metallb_runtime::CancellationToken;
    use metallb_runtime::tasks::Tasks;
    use serde_json::Value;
    use tokio::time::sleep;

    use super::*;

    /// Type and note of each event.
    type Events = Arc<Mutex<Vec<(String, String)>>>;

    /// An API server that takes every event.
    fn client(events: &Events) -> Client {
        let events = Arc::clone(events);
        let service = tower::service_fn(move |request: Request<Body>| {
            let events = Arc::clone(&events);
            async move {
                let event = request.into_body().collect().await?.to_bytes();
                let value: Value = serde_json::from_slice(&event)?;
                let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                events.lock().unwrap().push((field("type"), field("note")));
                Ok::<_, tower::BoxError>(Response::new(Body::from(event)))
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn each_problem_is_told_once_when_it_appears_and_once_when_it_is_over() {
        let (events, mut tasks) = (Events::default(), Tasks::new(CancellationToken::new()));
        let (reports, report_reader) = channel::channel(None);
        let (all, all_reader) = channel::channel(None);
        let (problems, problem_reader) = channel::channel(ConfigReport::default());
        let metrics = Arc::new(Metrics::new("node-a").unwrap());
        let teller = Teller {
            reports: report_reader,
            all,
            recorder: Recorder::new(client(&events), "metallb-speaker", "node-a", &tasks.spawner()),
            metrics: Arc::clone(&metrics),
            namespace: "metallb-system".to_owned(),
            node: "node-a".to_owned(),
        };
        tasks.spawn("problems", async {
            tell(teller, problem_reader).await;
            Ok(())
        });
        let set = |now: &[&str]| {
            let errors = now.iter().map(|it| (*it).to_owned()).collect();
            problems.send_replace(ConfigReport {
                errors,
                ..ConfigReport::default()
            });
        };
        let told = async |wanted: &[(&str, &str)]| {
            let is = || {
                let events = events.lock().unwrap();
                let is = events.iter().map(|(type_, note)| (type_.as_str(), note.as_str()));
                is.eq(wanted.iter().copied())
            };
            for _ in 0..500 {
                if is() {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
            assert!(is(), "{:?} instead of {wanted:?}", events.lock().unwrap());
            events.lock().unwrap().clear();
        };
        set(&["a"]);
        told(&[("Warning", "a")]).await;
        set(&["a", "b"]);
        told(&[("Warning", "b")]).await;
        // Both at once: neither is lost.
        reports.send_replace(Some(ConfigReport::default()));
        set(&["b"]);
        told(&[("Normal", "no longer: a")]).await;
        let report = all_reader.borrow().clone();
        assert_eq!(report.unwrap().errors, ["b"]);
        set(&[]);
        told(&[("Normal", "no longer: b")]).await;
        assert!(metrics.text().contains("metallb_k8s_client_update_errors_total 2"));
    }
}
