//! As whom the charts' pods run.

use rstest::rstest;

use crate::helm::{Chart, metallb, metallb_operator};
use crate::users_judge::{Platform, judge};

#[rstest]
#[case::defaults(metallb(), "rbac.create=true", 2)]
#[case::frr(metallb(), "speaker.frr.enabled=true", 8)]
#[case::frr_k8s(metallb(), "frrk8s.enabled=true", 12)]
#[case::external(metallb(), "frrk8s.external=true,frrk8s.namespace=frr", 2)]
#[case::certificates(
    metallb(),
    "frrk8s.enabled=true,tls.speakerMetricsTLSSecret=a,tls.controllerMetricsTLSSecret=b,frr-k8s.tls.metricsTLSSecret=c",
    12
)]
#[case::operator(metallb_operator(), "", 2)]
fn what_the_charts_deploy_can_do_what_it_must(
    #[case] chart: Option<Chart>,
    #[case] values: &str,
    #[case] containers: usize,
) {
    let Some(chart) = chart else { return };
    let chart = if values.is_empty() { chart } else { chart.set(values) };
    let mut seen = 0;
    for object in chart.objects().0 {
        let verdict = judge(&object, Platform::Plain);
        seen += verdict.containers;
        let name = &object["metadata"]["name"];
        assert!(verdict.complaints.is_empty(), "{name}: {:#?}", verdict.complaints);
    }
    assert_eq!(seen, containers);
}
