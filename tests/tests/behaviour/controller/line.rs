//! A line between a controller in this process and the API server that can be cut, under a clock that jumps.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;
use kube::client::Body;
use metallb_runtime::CancellationToken;
use serde_json::json;
use tokio::sync::watch;

use super::{Cluster, Controller, args};

/// What happens to a request on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives, and so does the answer.
    #[default]
    Good,
    /// It never arrives.
    Lost,
    /// It arrives; the answer does not.
    Unanswered,
    /// The API server refuses it.
    Refused(u16),
    /// It stays on the way until the line is good again.
    Stuck,
    /// Whoever sends it panics.
    Panic,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) watch: bool,
}

impl Call {
    pub(super) fn is_write_of(&self, service: &str) -> bool {
        self.method == "PUT" && self.path.ends_with(&format!("/services/{service}/status"))
    }

    pub(super) fn is_write(&self) -> bool {
        self.method == "PUT" && self.path.contains("/services/") && self.path.ends_with("/status")
    }

    pub(super) fn is_of_lease(&self) -> bool {
        self.path.contains("/leases")
    }
}

type Decide = Box<dyn FnMut(&Call) -> Fate + Send>;

/// A line to the API server that can be cut.
#[derive(Clone)]
pub(super) struct Line {
    inner: Client,
    decide: Arc<Mutex<Decide>>,
    calls: Arc<Mutex<Vec<Call>>>,
    good: watch::Sender<bool>,
}

impl Line {
    pub(super) fn to(cluster: &Cluster) -> Self {
        Self {
            inner: cluster.client.clone(),
            decide: Arc::new(Mutex::new(Box::new(|_| Fate::Good))),
            calls: Arc::default(),
            good: watch::Sender::new(true),
        }
    }

    /// From now on this decides.
    pub(super) fn set(&self, decide: impl FnMut(&Call) -> Fate + Send + 'static) {
        self.good.send_replace(false);
        *self.decide.lock().unwrap() = Box::new(decide);
    }

    /// From now on all is well, also for what is stuck.
    pub(super) fn mend(&self) {
        *self.decide.lock().unwrap() = Box::new(|_| Fate::Good);
        self.good.send_replace(true);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(super) fn writes(&self) -> usize {
        self.calls().iter().filter(|call| call.is_write()).count()
    }

    pub(super) fn client(&self) -> Client {
        let line = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let line = line.clone();
            async move { line.carry(request).await }
        });
        Client::new(service, "default")
    }

    async fn carry(&self, request: http::Request<Body>) -> Result<http::Response<Body>, tower::BoxError> {
        let query = request.uri().query().unwrap_or_default();
        let call = Call {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            watch: query.contains("watch="),
        };
        let fate = (self.decide.lock().unwrap())(&call);
        self.calls.lock().unwrap().push(call);
        match fate {
            Fate::Good => {}
            Fate::Lost => return Err("connection reset".into()),
            Fate::Unanswered => {
                self.inner.send(request).await?;
                return Err("connection reset".into());
            }
            Fate::Refused(code) => {
                let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                    "reason": "Refused", "message": "refused by the test" });
                let body = Body::from(body.to_string().into_bytes());
                return Ok(http::Response::builder().status(code).body(body)?);
            }
            Fate::Panic => panic!("asked for by the test"),
            Fate::Stuck => {
                let mut good = self.good.subscribe();
                good.wait_for(|good| *good).await?;
            }
        }
        Ok(self.inner.send(request).await?)
    }

    pub(super) fn controller(&self, pod: &str) -> Controller {
        self.controller_with(pod, &[])
    }

    /// A controller with more flags.
    pub(super) fn controller_with(&self, pod: &str, flags: &[&str]) -> Controller {
        let (args, stop) = (args(pod, flags), CancellationToken::new());
        let task = tokio::spawn(metallb_controller::run_with(self.client(), args, stop.clone()));
        Controller { stop, task }
    }
}

/// Waits in the time that jumps; looking rarely, since every look costs real time.
pub(super) async fn wait_for<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), poll)
        .await
        .expect("happens in time");
}
