//! Whole values files, and Helm's own opinion of the chart.

use metallb_tests::tools::run;
use rstest::rstest;

use crate::helm::{metallb, metallb_operator, names};

// OP-62: what upstream's users have in their files is understood, and means what it meant.
#[test]
fn a_values_file_of_upstream_renders_as_it_is() {
    let Some(chart) = metallb() else { return };
    let objects = chart.file("upstream-0.16.1.yaml").objects();
    // Upstream's default back-end, which its files name.
    assert_eq!(
        objects.container("DaemonSet/metallb-speaker", "speaker")["env"][6]["value"],
        "frr-k8s"
    );
    objects.get("DaemonSet/metallb-frr-k8s");
    let Some(chart) = metallb() else { return };
    let native = chart.file("upstream-0.16.1.yaml").set("frrk8s.enabled=false").objects();
    let Some(chart) = metallb() else { return };
    let defaults = chart.objects();
    assert_eq!(native.keys(), defaults.keys());
    for key in ["DaemonSet/metallb-speaker", "Deployment/metallb-controller"] {
        assert_eq!(native.get(key), defaults.get(key));
    }
}

// OP-76
#[rstest]
#[case::defaults("", "rbac.create=true")]
#[case::upstream("upstream-0.16.1.yaml", "rbac.create=true")]
#[case::all_on("all-on.yaml", "rbac.create=true")]
#[case::frr("all-on.yaml", "speaker.frr.enabled=true")]
#[case::frr_k8s("all-on.yaml", "frrk8s.enabled=true,frr-k8s.prometheus.serviceMonitor.enabled=true")]
#[case::external("all-on.yaml", "frrk8s.external=true,frrk8s.namespace=frr")]
fn helm_finds_nothing_wrong(#[case] file: &str, #[case] values: &str) {
    let Some(chart) = metallb() else { return };
    let chart = if file.is_empty() { chart } else { chart.file(file) }.set(values);
    let mut lint = chart.command("lint");
    run(lint
        .arg("--strict")
        .args(["--kube-version", "1.28"])
        .arg(chart.folder()))
    .unwrap();
    chart.objects();
}

/// Nothing has two names for one thing: a second object of a name replaces the first unseen.
#[test]
fn no_object_is_rendered_twice() {
    let Some(chart) = metallb() else { return };
    let objects = chart.file("all-on.yaml").set("frrk8s.enabled=true").objects();
    assert_eq!(objects.keys().len(), objects.0.len());
    let speaker = objects.pod("DaemonSet/metallb-speaker");
    assert_eq!(names(&speaker["containers"]), ["speaker", "extra"]);
}

#[test]
fn the_charts_can_be_packed_and_are_small() {
    for (chart, name) in [(metallb(), "metallb"), (metallb_operator(), "metallb-operator")] {
        let Some(chart) = chart else { return };
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
