//! What the chart refuses, and how helpfully.

use rstest::rstest;

use crate::helm::metallb;

// OP-64
#[rstest]
#[case(
    "speaker.frr.enabled=true,frrk8s.enabled=true",
    "speaker.frr.enabled excludes frrk8s.enabled"
)]
#[case(
    "speaker.frr.enabled=true,frrk8s.external=true,frrk8s.namespace=x",
    "speaker.frr.enabled excludes"
)]
#[case(
    "frrk8s.enabled=true,frrk8s.external=true,frrk8s.namespace=x",
    "set only one of them"
)]
#[case("frrk8s.enabled=true,speaker.enabled=false", "set speaker.enabled=true")]
#[case(
    "frrk8s.external=true,frrk8s.namespace=x,speaker.enabled=false",
    "set speaker.enabled=true"
)]
#[case(
    "speaker.memberlist.enabled=false,speaker.nodeSelector.a=b",
    "speaker.nodeSelector needs speaker.memberlist.enabled"
)]
#[case("frrk8s.external=true", "frrk8s.external needs frrk8s.namespace")]
#[case(
    "prometheus.serviceMonitor.enabled=true,prometheus.podMonitor.enabled=true,prometheus.rbacPrometheus=false",
    "set only one of them"
)]
#[case(
    "prometheus.podMonitor.enabled=true",
    "prometheus.serviceAccount and prometheus.namespace"
)]
#[case(
    "prometheus.serviceMonitor.enabled=true,prometheus.serviceAccount=p",
    "prometheus.namespace"
)]
#[case("speaker.securityContext.runAsNonRoot=true", "Take runAsNonRoot and runAsUser out")]
#[case("speaker.securityContext.runAsUser=1000", "NET_RAW has no effect for anybody else")]
#[case("architectures=null", "architectures must name at least one")]
#[case("configInline.peers=x", "configInline is gone since MetalLB 0.13")]
#[case(
    "speaker.readinessProbe.port=1",
    "speaker.readinessProbe.port must be speaker.livenessProbe.port"
)]
fn values_that_contradict_each_other_are_refused_with_what_to_change(#[case] values: &str, #[case] message: &str) {
    let Some(chart) = metallb() else { return };
    let refusal = chart.set(values).refusal();
    assert!(refusal.contains(message), "{refusal}");
}

// OP-67
#[rstest]
#[case(
    "speaker.tolerateMasters=true",
    "additional properties 'tolerateMasters' not allowed",
    "'tolerateMaster'"
)]
#[case(
    "controler.enabled=true",
    "additional properties 'controler' not allowed",
    "'controller'"
)]
#[case(
    "fullNameOverride=x",
    "additional properties 'fullNameOverride' not allowed",
    "'fullnameOverride'"
)]
#[case(
    "frr-k8s.frrk8s.alwaysblock=x",
    "additional properties 'alwaysblock' not allowed",
    "'alwaysBlock'"
)]
#[case(
    "imagePullSecrets[0].nam=x",
    "additional properties 'nam' not allowed",
    "missing property 'name'"
)]
fn an_unknown_value_is_refused_with_those_that_exist(#[case] value: &str, #[case] message: &str, #[case] hint: &str) {
    let Some(chart) = metallb() else { return };
    let refusal = chart.set(value).refusal();
    assert!(refusal.contains(message) && refusal.contains(hint), "{refusal}");
}

// OP-67
#[rstest]
#[case(r#"speaker.logLevel="trace""#, "/speaker/logLevel")]
#[case(r#"controller.image.pullPolicy="Often""#, "/controller/image/pullPolicy")]
#[case(r#"crds.validationFailurePolicy="Maybe""#, "/crds/validationFailurePolicy")]
#[case("speaker.bgpDebounceTimeout=0", "/speaker/bgpDebounceTimeout")]
#[case(r#"speaker.bgpDebounceTimeout="3s""#, "/speaker/bgpDebounceTimeout")]
#[case(r#"controller.webhookMode="sometimes""#, "/controller/webhookMode")]
#[case(r#"tls.minVersion="TLS13""#, "/tls/minVersion")]
#[case("prometheus.metricsPort=65536", "/prometheus/metricsPort")]
#[case(r#"prometheus.podMonitor.interval="soon""#, "/prometheus/podMonitor/interval")]
#[case(
    "prometheus.prometheusRule.staleConfig.labels={\"severity\": 1}",
    "/staleConfig/labels/severity"
)]
#[case(
    "prometheus.prometheusRule.addressPoolUsage.thresholds=[{\"percent\": 101}]",
    "/thresholds/0/percent"
)]
#[case("controller.strategy={\"type\": null}", "/controller/strategy")]
#[case("controller.enabled=\"yes\"", "/controller/enabled")]
#[case("controller.replicas=-1", "/controller/replicas")]
#[case("imagePullSecrets=[\"name\"]", "/imagePullSecrets/0")]
fn a_value_of_the_wrong_kind_is_refused_by_its_name(#[case] value: &str, #[case] place: &str) {
    let Some(chart) = metallb() else { return };
    let refusal = chart.json(value).refusal();
    assert!(refusal.contains(place), "{refusal}");
}

// OP-67
#[rstest]
#[case("\"30s\"", "30s")]
#[case("30", "30s")]
#[case("\"1m30s\"", "1m30s")]
fn a_scrape_interval_may_be_a_duration_or_seconds(#[case] value: &str, #[case] rendered: &str) {
    let Some(chart) = metallb() else { return };
    let chart = chart
        .set("prometheus.podMonitor.enabled=true,prometheus.rbacPrometheus=false")
        .json(&format!("prometheus.podMonitor.interval={value}"));
    let objects = chart.objects();
    let endpoint = &objects.get("PodMonitor/metallb-speaker")["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["interval"], rendered);
}
