//! What the kernel lets the product's processes do on a node.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Namespace, Pod, PodTemplateSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use metallb_test_support::{Inside, Lab, Options, RouterKind};
use metallb_tests::Outcome;
use metallb_tests::path::announced;

use crate::doors::mounts_never_failed;

/// CAP_NET_RAW of capabilities(7), as a set.
const NET_RAW: u64 = 1 << 13;
const NAMESPACE: &str = "metallb-system";

/// One process of the product.
struct Process {
    called: String,
    status: BTreeMap<String, String>,
    root: String,
}

// OP-27
pub(crate) fn of_processes(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            nodes: 1,
            router: RouterKind::Builtin,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        announced(&lab).await?;
        let mut seen = Vec::new();
        for process in processes()? {
            judge(&process).with_context(|| process.called.clone())?;
            println!("{}: {} resident", process.called, process.field("VmRSS")?);
            seen.push(process.called);
        }
        seen.sort();
        ensure!(
            seen == ["/controller", "/controller", "/manager", "/speaker"],
            "webhook server, controller, operator and speaker should run; there are {seen:?}"
        );
        mounts_never_failed(&lab.kube()).await?;
        levels(&lab.kube()).await?;
        lab.stop().await;
        Ok(())
    })
}

fn processes() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let dir = entry?.path();
        // One that has ended meanwhile is none of ours: they all run on.
        let line = fs::read(dir.join("cmdline")).unwrap_or_default();
        let called = String::from_utf8_lossy(line.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        if ["/manager", "/controller", "/speaker"].contains(&called.as_str()) {
            found.push(Process::read(called, &dir)?);
        }
    }
    Ok(found)
}

impl Process {
    fn read(called: String, dir: &Path) -> Result<Self> {
        let status = fs::read_to_string(dir.join("status"))?;
        let fields = status.lines().filter_map(|line| line.split_once(':'));
        let mounts = fs::read_to_string(dir.join("mountinfo"))?;
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
        Ok(Self {
            called,
            status: fields
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
            root: root
                .and_then(|line| line.split(' ').nth(5))
                .unwrap_or_default()
                .to_owned(),
        })
    }

    fn field(&self, name: &str) -> Result<&str> {
        let value = self.status.get(name).map(String::as_str);
        value.with_context(|| format!("the kernel tells no {name}"))
    }
}

fn judge(process: &Process) -> Result<()> {
    let (uid, capabilities) = match process.called.as_str() {
        "/speaker" => ("0", NET_RAW),
        _ => ("65534", 0),
    };
    let owner = process.field("Uid")?.split_whitespace().next();
    ensure!(owner == Some(uid), "runs as {owner:?} instead of {uid}");
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        let has = u64::from_str_radix(process.field(set)?, 16)?;
        ensure!(has == capabilities, "{set} is {has:x} instead of {capabilities:x}");
    }
    ensure!(process.field("NoNewPrivs")? == "1", "may gain privileges");
    // SECCOMP_MODE_FILTER
    ensure!(process.field("Seccomp")? == "2", "is not under a seccomp filter");
    let read_only = process.root.split(',').any(|option| option == "ro");
    ensure!(read_only, "its root is writable: {}", process.root);
    Ok(())
}

/// Pod Security: everything but the speaker is `restricted`; the speaker is on the node's network and so `privileged`.
async fn levels(client: &Client) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    for deployment in deployments.list(&Default::default()).await? {
        let spec = deployment.spec.context("no spec")?;
        let admitted = admits(client, "restricted", spec.template).await;
        admitted.with_context(|| deployment.metadata.name.unwrap_or_default())?;
    }
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
    let speaker = sets.get("speaker").await?.spec.context("no spec")?.template;
    ensure!(
        admits(client, "baseline", speaker.clone()).await.is_err(),
        "the speaker does not need the level that is documented"
    );
    admits(client, "privileged", speaker).await.context("speaker")
}

/// Whether a namespace of that level takes the pod.
async fn admits(client: &Client, level: &str, template: PodTemplateSpec) -> Result<()> {
    let name = format!("level-{level}");
    let label = ("pod-security.kubernetes.io/enforce".to_owned(), level.to_owned());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some([label].into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(&name).await?.is_none() {
        namespaces.create(&PostParams::default(), &namespace).await?;
    }
    let mut spec = template.spec.context("no spec")?;
    // Accounts are not what is judged here, and none is in that namespace.
    spec.service_account_name = None;
    spec.service_account = None;
    spec.automount_service_account_token = Some(false);
    let pod = Pod {
        metadata: ObjectMeta {
            name: Some("judged".into()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        ..Pod::default()
    };
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &name);
    // The account of a new namespace takes a moment, and admission of pods waits for it.
    metallb_test_support::wait_for(
        "the namespace to take pods",
        std::time::Duration::from_secs(60),
        async || match pods.create(&params, &pod).await {
            Err(kube::Error::Api(status)) if status.message.contains("serviceaccount \"default\" not found") => {
                Ok(None)
            }
            other => Ok(Some(other.map(drop))),
        },
    )
    .await??;
    Ok(())
}
