//! A node of a cluster, with a router beside it.

use std::{
    fs,
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::ValidatingWebhookConfiguration,
        core::v1::{ConfigMap, Namespace, Node as KubeNode, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use metallb_api::{BFDProfile, BGPAdvertisement, BGPPeer, ConfigurationState, IPAddressPool};
use metallb_test_runner::tools::FRR_K8S;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemons::{Frr, Space, eventually, run};

pub(crate) const RELOADER: &str = "frr-reloader.sh";
pub(crate) const OURS: &str = "metallb-system";

/// A program that ends with the test.
pub(crate) struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Ends it as a kubelet does, and waits.
    pub(crate) fn stop(mut self) {
        run(&format!("kill -TERM {}", self.0.id()));
        self.0.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All of it. The router is dropped last, as its namespace holds the link.
pub(crate) struct Node {
    pub(crate) client: Client,
    api: metallb_lab_api::ApiServer,
    folder: TempDir,
    reloader: Option<Program>,
    pub(crate) frr: Frr,
    pub(crate) router: Frr,
    _space: Space,
}

impl Node {
    /// Without a speaker yet. The router is at 10.0.0.2 and fd00::2 in AS 64501.
    pub(crate) async fn new() -> Self {
        let mut node = Self::without_frr().await;
        node.frr.begin(None);
        node
    }

    /// Without FRR on the node, too.
    pub(crate) async fn without_frr() -> Self {
        metallb_runtime::tls::install_crypto_provider();
        run("ip link set lo up");
        let space = Space::new();
        run("ip addr add 10.0.0.1/24 dev near && ip addr add fd00::1/64 dev near nodad");
        space.run("ip addr add 10.0.0.2/24 dev far && ip addr add fd00::2/64 dev far nodad");
        let (frr, router) = (Frr::absent(), Frr::start(Some(&space)));
        router.apply(ROUTER);
        let folder = TempDir::new().unwrap();
        let options = metallb_lab_api::Options {
            listeners: vec![std::net::TcpListener::bind("127.0.0.1:0").unwrap()],
            dir: folder.path().join("api"),
            ..Default::default()
        };
        let api = metallb_lab_api::start(options).await.unwrap();
        let mut node = Self {
            client: api.client(),
            api,
            folder,
            reloader: None,
            frr,
            router,
            _space: space,
        };
        node.start_reloader();
        node.objects().await;
        node
    }

    fn start_reloader(&mut self) {
        self.reloader = Some(Program::start(
            Command::new(std::env::current_exe().unwrap())
                .arg0(RELOADER)
                .env("SHARED_VOLUME", self.folder.path())
                .env("FRR_SOCKETS", self.frr.path(""))
                .env("FRR_CONFIG_DIR", self.frr.path(""))
                .stdout(Stdio::null()),
        ));
    }

    /// Ends FRR and what is beside it, as with its pod.
    pub(crate) fn end_frr(&mut self) {
        self.reloader = None;
        self.frr.end();
    }

    /// FRR in a new pod, which knows nothing of the last one.
    pub(crate) fn renew_frr(&mut self) {
        for file in ["frr.conf", ".status", ".status-of", "last-error"] {
            let _ = fs::remove_file(self.path(file));
        }
        self.frr.begin(None);
        self.start_reloader();
    }

    async fn objects(&self) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for crd in metallb_crdgen::crds() {
            crds.create(&PostParams::default(), &crd).await.unwrap();
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        make(&namespaces, json!({ "metadata": { "name": OURS } })).await;
        let nodes: Api<KubeNode> = Api::all(self.client.clone());
        // Not its name, which some installers have otherwise.
        let labels = json!({ "kubernetes.io/hostname": "host-n" });
        make(&nodes, json!({ "metadata": { "name": "n", "labels": labels } })).await;
        let container = json!({ "name": "speaker", "image": "speaker" });
        let pod =
            json!({ "metadata": { "name": "speaker-n" }, "spec": { "nodeName": "n", "containers": [container] } });
        make(&self.ours::<Pod>(), pod).await;
        let addresses = ["198.51.100.0/24", "2001:db8::/112"];
        let pool = json!({ "metadata": { "name": "pool" }, "spec": { "addresses": addresses } });
        make(&self.ours::<IPAddressPool>(), pool).await;
        let spec = json!({ "localPref": 0, "communities": ["64500:7", "large:64500:1:2"] });
        make(
            &self.ours::<BGPAdvertisement>(),
            json!({ "metadata": { "name": "all" }, "spec": spec }),
        )
        .await;
        let patient = json!({ "receiveInterval": 100, "transmitInterval": 100, "detectMultiplier": 30 });
        make(
            &self.ours::<BFDProfile>(),
            json!({ "metadata": { "name": "patient" }, "spec": patient }),
        )
        .await;
        self.peer("four", "10.0.0.2").await;
    }

    pub(crate) fn ours<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), OURS)
    }

    pub(crate) async fn peer(&self, name: &str, address: &str) {
        self.peer_with(name, address, json!({ "bfdProfile": "patient" })).await;
    }

    /// A peer with these fields beside the usual ones.
    pub(crate) async fn peer_with(&self, name: &str, address: &str, more: Value) {
        let mut spec = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": address, "connectTime": "1s" });
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        make(
            &self.ours::<BGPPeer>(),
            json!({ "metadata": { "name": name }, "spec": spec }),
        )
        .await;
    }

    /// A Service that has its address already, and an endpoint.
    pub(crate) async fn service(&self, name: &str, address: &str) {
        let services: Api<Service> = Api::namespaced(self.client.clone(), "default");
        let spec = json!({ "type": "LoadBalancer", "ports": [{ "port": 80 }], "selector": { "app": name } });
        make(&services, json!({ "metadata": { "name": name }, "spec": spec })).await;
        let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address }] } } });
        let done = services
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
            .await;
        done.unwrap();
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), "default");
        let labels = json!({ "kubernetes.io/service-name": name });
        let endpoints = json!([{ "addresses": ["10.1.0.1"], "conditions": { "ready": true }, "nodeName": "n" }]);
        let slice = json!({ "metadata": { "name": name, "labels": labels }, "addressType": "IPv4", "endpoints": endpoints, "ports": [] });
        make(&slices, slice).await;
    }

    pub(crate) async fn end_service(&self, name: &str) {
        let services: Api<Service> = Api::namespaced(self.client.clone(), "default");
        services.delete(name, &DeleteParams::default()).await.unwrap();
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), "default");
        slices.delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn extras(&self, lines: &str) {
        let map = json!({ "metadata": { "name": "bgpextras" }, "data": { "extras": lines } });
        make(&self.ours::<ConfigMap>(), map).await;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn speaker(&self) -> Program {
        self.speaker_with("frr")
    }

    /// A speaker that hands its sessions to this back-end.
    pub(crate) fn speaker_with(&self, backend: &str) -> Program {
        let log = fs::File::create(self.path("speaker.log")).unwrap();
        Program::start(
            Command::new(env!("CARGO_BIN_EXE_metallb-speaker"))
                .args([
                    "--port=0",
                    "--health-probe-port=17472",
                    "--ml-bindaddr=",
                    "--log-level=info",
                ])
                .env("KUBECONFIG", self.api.kubeconfig_path())
                .env("METALLB_BGP_TYPE", backend)
                .env("METALLB_NODE_NAME", "n")
                .env("METALLB_POD_NAME", "speaker-n")
                .env("METALLB_NAMESPACE", OURS)
                .env("FRR_CONFIG_FILE", self.path("frr.conf"))
                .env("FRR_RELOADER_PID_FILE", self.path("reloader.pid"))
                .stdout(log.try_clone().unwrap())
                .stderr(log),
        )
    }

    /// The definitions of frr-k8s, its own.
    pub(crate) async fn frr_k8s_definitions(&self) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let session_states = "bgpsessionstates.frrk8s.metallb.io";
        crds.delete(session_states, &DeleteParams::default()).await.unwrap();
        let folder = FRR_K8S.files().unwrap().join("config/crd/bases");
        for file in fs::read_dir(folder).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let crd: CustomResourceDefinition = serde_saphyr::from_str(&text).unwrap();
            crds.create(&PostParams::default(), &crd).await.unwrap();
        }
    }

    /// frr-k8s with its own definitions; it has the FRR of this node for itself.
    pub(crate) async fn frr_k8s(&self) -> Program {
        self.frr_k8s_definitions().await;
        self.start_frr_k8s()
    }

    pub(crate) fn start_frr_k8s(&self) -> Program {
        let program = FRR_K8S.program();
        let log = fs::File::create(self.path("frr-k8s.log")).unwrap();
        Program::start(
            Command::new(program)
                .args(["--node-name=n", "--namespace", OURS, "--metrics-bind-address=0"])
                .args(["--log-level=debug", "--bgp-debounce-timeout=100"])
                .env("KUBECONFIG", self.api.kubeconfig_path())
                .env("FRR_CONFIG_FILE", self.path("frr.conf"))
                .env("FRR_RELOADER_PID_FILE", self.path("reloader.pid"))
                .stdout(log.try_clone().unwrap())
                .stderr(log),
        )
    }

    /// The webhook of frr-k8s, which judges every FRRConfiguration from now on, with its own definitions.
    pub(crate) async fn frr_k8s_webhook(&self) -> Program {
        const SERVICE: &str = "frr-k8s-webhook-service";
        let program = FRR_K8S.program().with_file_name("statuscleaner");
        self.frr_k8s_definitions().await;
        // Where controller-runtime looks for it.
        let folder = self.path("k8s-webhook-server/serving-certs");
        let certificate = rcgen::generate_simple_self_signed([format!("{SERVICE}.{OURS}.svc")]).unwrap();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("tls.crt"), certificate.cert.pem()).unwrap();
        fs::write(folder.join("tls.key"), certificate.signing_key.serialize_pem()).unwrap();
        let log = fs::File::create(self.path("webhook.log")).unwrap();
        let program = Program::start(
            Command::new(program)
                .args(["--namespace", OURS, "--disable-cert-rotation", "--webhook-port=19443"])
                .env("KUBECONFIG", self.api.kubeconfig_path())
                .env("TMPDIR", self.folder.path())
                .stdout(log.try_clone().unwrap())
                .stderr(log),
        );
        eventually("webhook of frr-k8s", || {
            TcpStream::connect("127.0.0.1:19443").map_err(|_| fs::read_to_string(self.path("webhook.log")).unwrap())
        });
        let port = json!([{ "port": 443 }]);
        let service = json!({ "metadata": { "name": SERVICE }, "spec": { "ports": port } });
        make(&self.ours::<Service>(), service).await;
        let labels = json!({ "kubernetes.io/service-name": SERVICE });
        let endpoints = json!([{ "addresses": ["127.0.0.1"] }]);
        let slice = json!({ "metadata": { "name": SERVICE, "labels": labels }, "addressType": "IPv4", "endpoints": endpoints, "ports": [{ "port": 19443 }] });
        make(&self.ours::<EndpointSlice>(), slice).await;
        let text = fs::read_to_string(FRR_K8S.files().unwrap().join("config/webhook/manifests.yaml")).unwrap();
        let mut hooks: Value = serde_saphyr::from_str(&text).unwrap();
        let client = &mut hooks["webhooks"][0]["clientConfig"];
        client["service"]["name"] = SERVICE.into();
        client["service"]["namespace"] = OURS.into();
        client["caBundle"] = json!(ByteString(certificate.cert.pem().into_bytes()));
        let api: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        make(&api, hooks).await;
        program
    }

    /// What the speaker says about its configuration.
    pub(crate) async fn summary(&self) -> Option<String> {
        let state = self.ours::<ConfigurationState>().get_opt("speaker-n").await.unwrap()?;
        Some(state.status?.error_summary)
    }

    /// Waits until the routers' answer has all of these texts; shows the log of the speaker if it never does.
    pub(crate) fn router_shows(&self, command: &str, wanted: &[&str]) {
        let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.router.shows(command, wanted)));
        if let Err(panic) = shown {
            eprintln!("{}", fs::read_to_string(self.path("speaker.log")).unwrap_or_default());
            std::panic::resume_unwind(panic);
        }
    }
}

const ROUTER: &str = "bfd
 profile patient
  receive-interval 100
  transmit-interval 100
  detect-multiplier 30
router bgp 64501
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 neighbor 10.0.0.1 remote-as 64500
 neighbor 10.0.0.1 bfd profile patient
 neighbor 10.0.0.1 timers connect 1
 neighbor fd00::1 remote-as 64500
 neighbor fd00::1 bfd profile patient
 neighbor fd00::1 timers connect 1
 address-family ipv6 unicast
  neighbor fd00::1 activate
";

/// Makes an object as written.
pub(crate) async fn make<K>(api: &Api<K>, object: Value)
where
    K: Resource + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
    K::DynamicType: Default,
{
    let mut whole = json!({ "apiVersion": K::api_version(&K::DynamicType::default()), "kind": K::kind(&K::DynamicType::default()) });
    for (field, value) in object.as_object().unwrap() {
        whole[field] = value.clone();
    }
    api.create(&PostParams::default(), &serde_json::from_value(whole).unwrap())
        .await
        .unwrap();
}
