//! Whole values files, and Helm's own opinion of the chart.

use metallb_judges::tools::run;
use serde_json::Value;

use crate::helm::{metallb, metallb_operator, names};

// OP-62: what upstream's users have in their files is understood, and means what it meant.
pub(crate) fn a_values_file_of_upstream_renders_as_it_is() {
    let chart = metallb();
    let objects = chart.file("upstream-0.16.1.yaml").objects();
    // Upstream's default back-end, which its files name.
    assert_eq!(
        objects.container("DaemonSet/metallb-speaker", "speaker")["env"][6]["value"],
        "frr-k8s"
    );
    objects.get("DaemonSet/metallb-frr-k8s");
    let chart = metallb();
    let native = chart.file("upstream-0.16.1.yaml").set("frrk8s.enabled=false").objects();
    let chart = metallb();
    let defaults = chart.objects();
    assert_eq!(native.keys(), defaults.keys());
    for key in ["DaemonSet/metallb-speaker", "Deployment/metallb-controller"] {
        let [of_file, default] = [&native, &defaults].map(|objects| without_readiness_times(objects.get(key)));
        assert_eq!(of_file, default);
    }
}

/// The only defaults that differ from upstream's: see "Readiness" in `docs/differences.md`.
fn without_readiness_times(workload: &Value) -> Value {
    let mut workload = workload.clone();
    let containers = workload.pointer_mut("/spec/template/spec/containers").unwrap();
    for container in containers.as_array_mut().unwrap() {
        let probe = container["readinessProbe"].as_object_mut().unwrap();
        for time in ["initialDelaySeconds", "periodSeconds"] {
            probe.remove(time).unwrap();
        }
    }
    workload
}

// OP-76
pub(crate) fn helm_finds_nothing_wrong() {
    let cases: [(&str, &str); 6] = [
        ("", "rbac.create=true"),
        ("upstream-0.16.1.yaml", "rbac.create=true"),
        ("all-on.yaml", "rbac.create=true"),
        ("all-on.yaml", "speaker.frr.enabled=true"),
        (
            "all-on.yaml",
            "frrk8s.enabled=true,frr-k8s.prometheus.serviceMonitor.enabled=true",
        ),
        ("all-on.yaml", "frrk8s.external=true,frrk8s.namespace=frr"),
    ];
    for (file, values) in cases {
        let chart = metallb();
        let chart = if file.is_empty() { chart } else { chart.file(file) }.set(values);
        let mut lint = chart.command("lint");
        run(lint
            .arg("--strict")
            .args(["--kube-version", "1.28"])
            .arg(chart.folder()))
        .unwrap();
        chart.objects();
    }
}

/// Nothing has two names for one thing: a second object of a name replaces the first unseen.
pub(crate) fn no_object_is_rendered_twice() {
    let chart = metallb();
    let objects = chart.file("all-on.yaml").set("frrk8s.enabled=true").objects();
    assert_eq!(objects.keys().len(), objects.0.len());
    let speaker = objects.pod("DaemonSet/metallb-speaker");
    assert_eq!(names(&speaker["containers"]), ["speaker", "extra"]);
}

pub(crate) fn the_charts_can_be_packed_and_are_small() {
    for (chart, name) in [(metallb(), "metallb"), (metallb_operator(), "metallb-operator")] {
        let mut lint = chart.command("lint");
        run(lint.arg("--strict").arg(chart.folder())).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut package = chart.command("package");
        run(package.arg(chart.folder()).arg("--destination").arg(dir.path())).unwrap();
        let packed = dir.path().join(format!("{name}-{}.tgz", env!("CARGO_PKG_VERSION")));
        // A release is stored in a Secret, of a mebibyte at most, with the chart and what it rendered.
        assert!(packed.metadata().unwrap().len() < 200_000, "{name}");
    }
}
