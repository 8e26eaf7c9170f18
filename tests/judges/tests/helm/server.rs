//! The API server's opinion of every rendered object.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use kube::Client;
use metallb_test_support::{Inside, Lab, Options, RouterKind};
use serde_json::{Value, json};

use crate::{NAMESPACE, Outcome, chart, helm, values};
use metallb_tests::ask::ask;

/// Chart, values file and values: every mode, and everything on.
const MODES: &[(&str, &str, &str)] = &[
    ("metallb", "", "rbac.create=true"),
    ("metallb", "upstream-0.16.1.yaml", "rbac.create=true"),
    ("metallb-operator", "", "rbac.create=true"),
    ("metallb", "all-on.yaml", "rbac.create=true"),
    ("metallb", "all-on.yaml", "speaker.frr.enabled=true"),
    ("metallb", "all-on.yaml", "frrk8s.enabled=true"),
    ("metallb", "all-on.yaml", "frrk8s.external=true,frrk8s.namespace=frr"),
    (
        "metallb",
        "",
        "controller.webhookMode=disabled,speaker.memberlist.enabled=false",
    ),
    (
        "metallb",
        "",
        "prometheus.podMonitor.enabled=true,prometheus.serviceAccount=p,prometheus.namespace=m",
    ),
];

/// Kinds of Prometheus' operator, which this cluster does not have.
const FOREIGN: &str = "monitoring.coreos.com/";

// OP-77
pub(crate) fn accepts(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            nodes: 1,
            router: RouterKind::Builtin,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}?fieldManager=helm");
        ensure!(
            ask(&lab.kube(), Method::PATCH, &path, Some(&namespace))
                .await?
                .accepted()
        );
        let (mut judged, mut foreign) = (0, BTreeSet::new());
        for (name, file, set) in MODES {
            for object in rendered(&lab, name, file, set).await? {
                let kind = object["kind"].as_str().unwrap_or_default();
                if object["apiVersion"].as_str().unwrap_or_default().starts_with(FOREIGN) {
                    foreign.insert(kind.to_owned());
                    continue;
                }
                dry_run(&lab.kube(), &object)
                    .await
                    .with_context(|| format!("chart {name} with {file} {set}"))?;
                judged += 1;
            }
        }
        println!("{judged} objects accepted; not judged for lack of their kinds: {foreign:?}");
        lab.stop().await;
        Ok(())
    })
}

async fn rendered(lab: &Lab, name: &str, file: &str, set: &str) -> Result<Vec<Value>> {
    let (folder, file) = (chart(name), values(file));
    let mut args = vec!["template", name, &folder, "--set", set];
    if !file.ends_with('/') {
        args.extend(["--values", &file]);
    }
    let objects: Vec<Option<Value>> = serde_saphyr::from_multiple(&helm(lab, &args).await?)?;
    Ok(objects.into_iter().flatten().collect())
}

/// Applied as if, with every field known and every rule kept.
async fn dry_run(client: &Client, object: &Value) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let name = text(&object["metadata"]["name"]);
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let kinds = ask(client, Method::GET, &format!("{root}/{version}"), None).await?.body;
    let mut resources = kinds["resources"].as_array().into_iter().flatten();
    let plural = resources
        .find(|resource| resource["kind"] == kind.as_str() && !text(&resource["name"]).contains('/'))
        .map(|resource| text(&resource["name"]))
        .with_context(|| format!("no kind {kind}"))?;
    let namespace = object["metadata"]["namespace"].as_str();
    let namespace = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
    let path = format!(
        "{root}/{version}{namespace}/{plural}/{name}?fieldManager=helm&fieldValidation=Strict&dryRun=All&force=true"
    );
    let answer = ask(client, Method::PATCH, &path, Some(object)).await?;
    if !answer.accepted() {
        bail!("{kind} {name} was refused: {}", answer.message());
    }
    ensure!(answer.warnings.is_empty(), "{kind} {name}: {:?}", answer.warnings);
    Ok(())
}
