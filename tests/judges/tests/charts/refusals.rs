//! What the chart refuses, and how helpfully.

use crate::helm::metallb;

// OP-64, FRR-45
pub(crate) fn values_that_contradict_each_other_are_refused_with_what_to_change() {
    let cases: [(&str, &str); 15] = [
        (
            "speaker.frr.enabled=true,frrk8s.enabled=true",
            "speaker.frr.enabled excludes frrk8s.enabled",
        ),
        (
            "speaker.frr.enabled=true,frrk8s.external=true,frrk8s.namespace=x",
            "speaker.frr.enabled excludes",
        ),
        (
            "frrk8s.enabled=true,frrk8s.external=true,frrk8s.namespace=x",
            "set only one of them",
        ),
        ("frrk8s.enabled=true,speaker.enabled=false", "set speaker.enabled=true"),
        (
            "frrk8s.external=true,frrk8s.namespace=x,speaker.enabled=false",
            "set speaker.enabled=true",
        ),
        (
            "speaker.memberlist.enabled=false,speaker.nodeSelector.a=b",
            "speaker.nodeSelector needs speaker.memberlist.enabled",
        ),
        ("frrk8s.external=true", "frrk8s.external needs frrk8s.namespace"),
        (
            "prometheus.serviceMonitor.enabled=true,prometheus.podMonitor.enabled=true,prometheus.rbacPrometheus=false",
            "set only one of them",
        ),
        (
            "prometheus.podMonitor.enabled=true",
            "prometheus.serviceAccount and prometheus.namespace",
        ),
        (
            "prometheus.serviceMonitor.enabled=true,prometheus.serviceAccount=p",
            "prometheus.namespace",
        ),
        (
            "speaker.securityContext.runAsNonRoot=true",
            "Take runAsNonRoot and runAsUser out",
        ),
        (
            "speaker.securityContext.runAsUser=1000",
            "NET_RAW has no effect for anybody else",
        ),
        ("architectures=null", "architectures must name at least one"),
        ("configInline.peers=x", "configInline is gone since MetalLB 0.13"),
        (
            "speaker.readinessProbe.port=1",
            "speaker.readinessProbe.port must be speaker.livenessProbe.port",
        ),
    ];
    for (values, message) in cases {
        let chart = metallb();
        let refusal = chart.set(values).refusal();
        assert!(refusal.contains(message), "{values}: {refusal}");
    }
}

/// The values that Helm names as wrong.
fn named(refusal: &str) -> Vec<&str> {
    let lines = refusal.lines().filter_map(|line| line.trim().strip_prefix("- at '"));
    lines.filter_map(|rest| rest.split('\'').next()).collect()
}

// OP-67
pub(crate) fn an_unknown_value_is_refused_with_those_that_exist() {
    let cases: [(&str, &str, &str); 7] = [
        ("controler.enabled=true", "/controler", "controller, "),
        ("fullNameOverride=x", "/fullNameOverride", "fullnameOverride, "),
        ("frr-k8s.enabled=false", "/frr-k8s/enabled", "frrk8s, "),
        (
            "speaker.tolerateMasters=true",
            "/speaker/tolerateMasters",
            "tolerateMaster, ",
        ),
        (
            "frr-k8s.frrk8s.alwaysblock=x",
            "/frr-k8s/frrk8s/alwaysblock",
            "alwaysBlock, ",
        ),
        (
            "frr-k8s.frrk8s.frr.image.tga=x",
            "/frr-k8s/frrk8s/frr/image/tga",
            "repository, tag, pullPolicy",
        ),
        (
            "imagePullSecrets[0].nam=x",
            "/imagePullSecrets/0",
            "missing property 'name'",
        ),
    ];
    for (value, place, hint) in cases {
        let chart = metallb();
        let refusal = chart.set(value).refusal();
        assert!(named(&refusal).iter().all(|it| *it == place), "{value}: {refusal}");
        assert!(
            !named(&refusal).is_empty() && refusal.contains(hint),
            "{value}: {refusal}"
        );
    }
}

// OP-67
pub(crate) fn a_value_of_the_wrong_kind_is_refused_by_its_name() {
    let cases: [(&str, &str); 26] = [
        (r#"speaker.logLevel="trace""#, "/speaker/logLevel"),
        (r#"controller.image.pullPolicy="Often""#, "/controller/image/pullPolicy"),
        (
            r#"crds.validationFailurePolicy="Maybe""#,
            "/crds/validationFailurePolicy",
        ),
        ("speaker.bgpDebounceTimeout=0", "/speaker/bgpDebounceTimeout"),
        (r#"speaker.bgpDebounceTimeout="3s""#, "/speaker/bgpDebounceTimeout"),
        ("speaker.gratuitousARPInterval=-1", "/speaker/gratuitousARPInterval"),
        (r#"speaker.layer2.failback="sometimes""#, "/speaker/layer2/failback"),
        (r#"speaker.layer2.failbackDelay="90s""#, "/speaker/layer2/failbackDelay"),
        ("speaker.layer2.failbackDelay=86401", "/speaker/layer2/failbackDelay"),
        ("speaker.bgp.restartTime=4096", "/speaker/bgp/restartTime"),
        (r#"speaker.bgp.drain=["reboot"]"#, "/speaker/bgp/drain/0"),
        ("speaker.bgp.drainWait=86401", "/speaker/bgp/drainWait"),
        (r#"speaker.layer2.fastFailover="often""#, "/speaker/layer2/fastFailover"),
        (
            r#"speaker.gratuitousARPInterval="90s""#,
            "/speaker/gratuitousARPInterval",
        ),
        (r#"controller.webhookMode="sometimes""#, "/controller/webhookMode"),
        (r#"tls.minVersion="TLS13""#, "/tls/minVersion"),
        ("prometheus.metricsPort=65536", "/prometheus/metricsPort"),
        (
            r#"prometheus.podMonitor.interval="soon""#,
            "/prometheus/podMonitor/interval",
        ),
        (
            "prometheus.prometheusRule.staleConfig.labels={\"severity\": 1}",
            "/staleConfig/labels/severity",
        ),
        (
            "prometheus.prometheusRule.addressPoolUsage.thresholds=[{\"percent\": 101}]",
            "/thresholds/0/percent",
        ),
        ("controller.strategy={\"type\": null}", "/controller/strategy"),
        ("controller.enabled=\"yes\"", "/controller/enabled"),
        ("controller.replicas=-1", "/controller/replicas"),
        ("speaker.revisionHistoryLimit=-1", "/speaker/revisionHistoryLimit"),
        (
            r#"controller.revisionHistoryLimit="few""#,
            "/controller/revisionHistoryLimit",
        ),
        ("imagePullSecrets=[\"name\"]", "/imagePullSecrets/0"),
    ];
    for (value, place) in cases {
        let chart = metallb();
        let refusal = chart.json(value).refusal();
        assert!(
            matches!(named(&refusal)[..], [it] if it.ends_with(place)),
            "{value}: {refusal}"
        );
    }
}

// OP-67
pub(crate) fn a_scrape_interval_may_be_a_duration_or_seconds() {
    let cases: [(&str, &str); 3] = [("\"30s\"", "30s"), ("30", "30s"), ("\"1m30s\"", "1m30s")];
    for (value, rendered) in cases {
        let chart = metallb();
        let chart = chart
            .set("prometheus.podMonitor.enabled=true,prometheus.rbacPrometheus=false")
            .json(&format!("prometheus.podMonitor.interval={value}"));
        let objects = chart.objects();
        let endpoint = &objects.get("PodMonitor/metallb-speaker")["spec"]["podMetricsEndpoints"][0];
        assert_eq!(endpoint["interval"], rendered);
    }
}
