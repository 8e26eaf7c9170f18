//! The operator as a whole, against an API server: what it writes, when, in which order, and what it says about it.

mod adoption;
mod drift;
mod end;
mod faults;
mod install;
mod openshift;
mod replicas;
mod withdrawal;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use metallb_api::{MetalLB, names};
use metallb_manifests::Environment;
use metallb_operator::Deployer;
use metallb_runtime::CancellationToken;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub(crate) const NAMESPACE: &str = "metallb-system";

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request that the operator made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
}

impl Call {
    /// Tells whether it may have changed something that is deployed.
    pub(crate) fn is_write(&self) -> bool {
        self.is_about_deployment() && !self.query.contains("dryRun=All")
    }

    /// Tells whether it changes something that is deployed, or asks what would change.
    pub(crate) fn is_about_deployment(&self) -> bool {
        let told = ["/events", "/leases", "/authorization.k8s.io/"];
        self.method != "GET" && !told.iter().any(|part| self.path.contains(part))
    }
}

type Fault = Box<dyn Fn(&Call) -> Option<(u16, &'static str)> + Send>;
type Which = Box<dyn Fn(&Call) -> bool + Send>;

/// Stands between the operator and the API server: sees every request and may refuse it.
#[derive(Clone, Default)]
pub(crate) struct Between {
    calls: Arc<Mutex<Vec<Call>>>,
    fault: Arc<Mutex<Option<Fault>>>,
    /// What stays on the way until it is let go.
    held_up: Arc<Mutex<Option<Which>>>,
    let_go: Arc<tokio::sync::Notify>,
}

impl Between {
    pub(crate) fn refuse(&self, fault: impl Fn(&Call) -> Option<(u16, &'static str)> + Send + 'static) {
        *self.fault.lock().unwrap() = Some(Box::new(fault));
    }

    pub(crate) fn mend(&self) {
        *self.fault.lock().unwrap() = None;
    }

    pub(crate) fn hold_up(&self, which: impl Fn(&Call) -> bool + Send + 'static) {
        *self.held_up.lock().unwrap() = Some(Box::new(which));
    }

    pub(crate) fn let_go(&self) {
        *self.held_up.lock().unwrap() = None;
        self.let_go.notify_waiters();
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn writes(&self) -> Vec<String> {
        let calls = self.calls();
        let writes = calls.iter().filter(|call| call.is_write());
        writes.map(|call| format!("{} {}", call.method, call.path)).collect()
    }

    fn client(&self, inner: Client) -> Client {
        let between = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (between, inner) = (between.clone(), inner.clone());
            async move {
                let call = Call {
                    method: request.method().to_string(),
                    path: request.uri().path().to_owned(),
                    query: request.uri().query().unwrap_or_default().to_owned(),
                };
                let refusal = between.fault.lock().unwrap().as_ref().and_then(|fault| fault(&call));
                let held_up = between
                    .held_up
                    .lock()
                    .unwrap()
                    .as_ref()
                    .is_some_and(|which| which(&call));
                let let_go = between.let_go.notified();
                between.calls.lock().unwrap().push(call);
                if held_up {
                    let_go.await;
                }
                match refusal {
                    Some((code, message)) => Ok::<_, kube::Error>(refused(code, message)),
                    None => inner.send(request).await,
                }
            }
        });
        Client::new(service, NAMESPACE)
    }
}

fn refused(code: u16, message: &str) -> http::Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Refused", "message": message,
    });
    http::Response::builder()
        .status(code)
        .body(Body::from(status.to_string().into_bytes()))
        .unwrap()
}

/// An API server with our kinds, and somebody who says that all workloads run.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    api: metallb_lab_api::ApiServer,
    workloads: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// An operator in this process.
pub(crate) struct Operator {
    pub(crate) between: Between,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Operator {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

pub(crate) fn environment(more: &[(&str, &str)]) -> Environment {
    let base = [
        ("OPERATOR_NAMESPACE", NAMESPACE),
        ("CONTROLLER_IMAGE", "example.com/metallb:1"),
        ("SPEAKER_IMAGE", "example.com/metallb:1"),
        ("FRR_IMAGE", "example.com/frr:1"),
        ("FRRK8S_IMAGE", "example.com/frr-k8s:1"),
    ];
    let variables: BTreeMap<&str, &str> = base.into_iter().chain(more.iter().copied()).collect();
    Environment::from_variables(|name| variables.get(name).map(|value| (*value).to_owned())).unwrap()
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        metallb_runtime::tls::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let options = metallb_lab_api::Options {
            dir: dir.path().to_owned(),
            ..Default::default()
        };
        let api = metallb_lab_api::start(options).await.unwrap();
        let client = api.client();
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in metallb_crdgen::crds() {
            crds.create(&PostParams::default(), &crd).await.unwrap();
        }
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for name in [NAMESPACE, "elsewhere"] {
            let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
            namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        }
        let workloads = tokio::spawn(run_workloads(client.clone()));
        Self {
            client,
            api,
            workloads,
            _dir: dir,
        }
    }

    pub(crate) async fn end(self) {
        self.workloads.abort();
        self.api.shutdown().await;
    }

    pub(crate) fn operator(&self) -> Operator {
        self.operator_with("operator-1", false, environment(&[]), None)
    }

    pub(crate) fn operator_with(
        &self,
        identity: &str,
        elect: bool,
        environment: Environment,
        operator_condition: Option<String>,
    ) -> Operator {
        self.operator_behind(Between::default(), identity, elect, environment, operator_condition)
    }

    /// An operator that some requests are refused to from the beginning.
    pub(crate) fn operator_before(
        &self,
        fault: impl Fn(&Call) -> Option<(u16, &'static str)> + Send + 'static,
    ) -> Operator {
        let between = Between::default();
        between.refuse(fault);
        self.operator_behind(between, "operator-1", false, environment(&[]), None)
    }

    fn operator_behind(
        &self,
        between: Between,
        identity: &str,
        elect: bool,
        environment: Environment,
        operator_condition: Option<String>,
    ) -> Operator {
        let stop = CancellationToken::new();
        let deployer = Deployer {
            client: between.client(self.client.clone()),
            environment,
            identity: identity.to_owned(),
            elect,
            operator_condition,
        };
        let task = tokio::spawn(deployer.run(stop.clone()));
        Operator { between, stop, task }
    }

    pub(crate) fn ours<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Adds a kind with as much of a schema as counts here: none.
    pub(crate) async fn serve(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        plural: &str,
        scope: &str,
    ) -> Api<DynamicObject> {
        let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let version =
            json!({ "name": version, "served": true, "storage": true, "schema": { "openAPIV3Schema": anything } });
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": { "group": group, "scope": scope, "names": { "kind": kind, "plural": plural }, "versions": [version] },
        });
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        crds.create(&PostParams::default(), &serde_json::from_value(crd).unwrap())
            .await
            .unwrap();
        let version = version["name"].as_str().unwrap_or_default();
        let kind = GroupVersionKind::gvk(group, version, kind);
        Api::all_with(self.client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural))
    }

    /// The API of a kind in our namespace.
    pub(crate) fn of(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), NAMESPACE, resource)
    }

    pub(crate) async fn create(&self, spec: Value) {
        self.create_named(NAMESPACE, "metallb", spec).await;
    }

    pub(crate) async fn create_named(&self, namespace: &str, name: &str, spec: Value) {
        let api: Api<MetalLB> = Api::namespaced(self.client.clone(), namespace);
        let resource = serde_json::from_value(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB", "metadata": { "name": name }, "spec": spec,
        }));
        api.create(&PostParams::default(), &resource.unwrap()).await.unwrap();
    }

    pub(crate) async fn change(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let api = self.ours::<MetalLB>();
        api.patch("metallb", &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn resource(&self) -> MetalLB {
        self.ours().get("metallb").await.unwrap()
    }

    /// The condition of the resource that is true, with reason and message.
    pub(crate) async fn state(&self, namespace: &str, name: &str) -> (String, String, String) {
        let api: Api<MetalLB> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await.unwrap();
        let conditions = found.and_then(|it| it.status).unwrap_or_default().conditions;
        let main = conditions
            .into_iter()
            .find(|it| it.status == "True" && it.type_ != "Upgradeable");
        main.map_or_else(Default::default, |it| (it.type_, it.reason, it.message))
    }

    pub(crate) async fn available(&self) {
        wait_for("Available", || async {
            let resource = self.resource().await;
            let state = self.state(NAMESPACE, "metallb").await;
            let conditions = resource.status.unwrap_or_default().conditions;
            let current = conditions
                .iter()
                .all(|it| it.observed_generation == resource.metadata.generation);
            state.0 == "Available" && current
        })
        .await;
    }

    pub(crate) async fn degraded(&self, reason: &str, part: &str) {
        let seen = Mutex::new(String::new());
        let holds = || async {
            let (type_, found, message) = self.state(NAMESPACE, "metallb").await;
            let holds = type_ == "Degraded" && found == reason && message.contains(part);
            *seen.lock().unwrap() = format!("{type_} {found} {message}");
            holds
        };
        let waited = tokio::time::timeout(PATIENCE, poll(holds)).await;
        assert!(waited.is_ok(), "{reason}: {}", seen.lock().unwrap());
    }

    /// Every event on MetalLB resources, as reason and note.
    pub(crate) async fn story(&self, namespace: &str) -> Vec<(String, String)> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let mut events = api.list(&ListParams::default()).await.unwrap().items;
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        let pairs = events.into_iter().map(|event| (event.reason, event.note));
        pairs
            .map(|(reason, note)| (reason.unwrap_or_default(), note.unwrap_or_default()))
            .collect()
    }

    pub(crate) async fn told(&self, namespace: &str, reason: &str, part: &str) {
        wait_for(&format!("event {reason} with {part:?}"), || async {
            let story = self.story(namespace).await;
            story.iter().any(|(found, note)| found == reason && note.contains(part))
        })
        .await;
    }

    /// What the operator deploys for the resource.
    pub(crate) async fn wanted(&self) -> Vec<metallb_manifests::Object> {
        metallb_manifests::desired(&self.resource().await.spec, &environment(&[])).unwrap()
    }

    /// Revisions of all that is deployed, and of the resource, which a write would change.
    pub(crate) async fn revisions(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for object in self.wanted().await {
            let api = if object.is_namespaced() {
                self.of(&object.api_resource())
            } else {
                Api::all_with(self.client.clone(), &object.api_resource())
            };
            let live = api.get(object.name()).await.unwrap();
            found.insert(object.to_string(), live.resource_version().unwrap_or_default());
        }
        found
    }

    pub(crate) async fn exists(&self, object: &metallb_manifests::Object) -> bool {
        let api = if object.is_namespaced() {
            self.of(&object.api_resource())
        } else {
            Api::all_with(self.client.clone(), &object.api_resource())
        };
        api.get_opt(object.name()).await.unwrap().is_some()
    }
}

/// Says of every workload that it runs as wanted, like the controllers and kubelets of a cluster do.
async fn run_workloads(client: Client) {
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
    let deployments: Api<Deployment> = Api::namespaced(client, NAMESPACE);
    loop {
        for set in sets
            .list(&ListParams::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default()
        {
            let seen = set.status.as_ref().and_then(|status| status.observed_generation);
            // Somebody froze it to see what happens before it runs.
            if seen != set.metadata.generation && !set.annotations().contains_key("frozen") {
                let status = json!({ "observedGeneration": set.metadata.generation, "desiredNumberScheduled": 2,
                    "currentNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 2, "numberMisscheduled": 0 });
                say(&sets, &set.name_any(), status).await;
            }
        }
        for found in deployments
            .list(&ListParams::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default()
        {
            let seen = found.status.as_ref().and_then(|status| status.observed_generation);
            if seen != found.metadata.generation && !found.annotations().contains_key("frozen") {
                let status = json!({ "observedGeneration": found.metadata.generation, "replicas": 1,
                    "updatedReplicas": 1, "readyReplicas": 1 });
                say(&deployments, &found.name_any(), status).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn say<K>(api: &Api<K>, name: &str, status: Value)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    // It may be gone by now.
    let _ = api
        .patch_status(
            name,
            &PatchParams::default(),
            &Patch::Merge(json!({ "status": status })),
        )
        .await;
}

async fn poll<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    while !condition().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn wait_for<F: Future<Output = bool>>(what: &str, condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, poll(condition)).await;
    assert!(waited.is_ok(), "{what} did not happen in time");
}

/// Waits for what is looked at only now and then.
pub(crate) async fn wait_for_long<F: Future<Output = bool>>(what: &str, condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(4 * PATIENCE, poll(condition)).await;
    assert!(waited.is_ok(), "{what} did not happen in time");
}

/// The name of the finalizer, which users meet in the resource.
pub(crate) const FINALIZER: &str = "metallb.io/ordered-teardown";

pub(crate) fn labels(component: &str) -> Value {
    json!({ names::LABEL_APP: names::APP, names::LABEL_COMPONENT: component })
}
