//! The files of `manifests/` that are made from this crate.

use metallb_api::{BgpBackend, names};
use metallb_manifests::{
    Object,
    install::{self, Install, plain},
};

/// Makes all files: their names and texts.
pub(crate) fn all() -> anyhow::Result<Vec<(String, String)>> {
    let install = Install::release(names::DEFAULT_NAMESPACE);
    let openshift = Install {
        openshift: true,
        ..install.clone()
    };
    let mut files = vec![
        file("metallb-operator.yaml", &install::objects(&install))?,
        file("metallb-operator-openshift.yaml", &install::objects(&openshift))?,
        file("webhooks.yaml", &install::webhook_configurations(&install))?,
        file("network-policies.yaml", &plain::network_policies(&install))?,
        (
            "frr-k8s-crds.yaml".to_owned(),
            metallb_crdgen::documents(&metallb_crdgen::frr_k8s_crds())?,
        ),
    ];
    files.push((
        "grafana-dashboard.json".to_owned(),
        json(&metallb_manifests::dashboard())?,
    ));
    for backend in plain::MODES {
        for (suffix, prometheus) in [("", false), ("-prometheus", true)] {
            let text = definitions(backend)? + &documents(&plain::objects(&install, backend, prometheus))?;
            files.push((format!("metallb-{backend}{suffix}.yaml"), text));
        }
    }
    Ok(files)
}

/// The definitions of everything but the kind that only the operator reads.
fn definitions(backend: BgpBackend) -> anyhow::Result<String> {
    let mut crds = metallb_crdgen::crds();
    crds.retain(|crd| crd.spec.names.kind != "MetalLB");
    if backend == BgpBackend::FrrK8s {
        // One is in both lists.
        crds.retain(|crd| crd.spec.group == names::GROUP);
        crds.extend(metallb_crdgen::frr_k8s_crds());
    }
    metallb_crdgen::documents(&crds)
}

fn file(name: &str, objects: &[Object]) -> anyhow::Result<(String, String)> {
    Ok((name.to_owned(), documents(objects)?))
}

/// The alerts of the chart that upstream's does not have; it puts in the namespace and the pools that are left out.
pub(crate) fn chart_alerts() -> anyhow::Result<String> {
    json(&metallb_manifests::own_alerts("NAMESPACE", "EXCLUDED").into())
}

fn json(value: &serde_json::Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn documents(objects: &[Object]) -> anyhow::Result<String> {
    metallb_crdgen::documents(objects)
}
