//! As whom the charts' pods run.

use crate::helm::{Chart, metallb, metallb_operator};
use crate::users_judge::{Platform, judge};

pub(crate) fn what_the_charts_deploy_can_do_what_it_must() {
    let certificates = "frrk8s.enabled=true,tls.speakerMetricsTLSSecret=a,tls.controllerMetricsTLSSecret=b,\
                        frr-k8s.tls.metricsTLSSecret=c";
    let cases: [(Chart, usize); 6] = [
        (metallb(), 2),
        (metallb().set("speaker.frr.enabled=true"), 8),
        (metallb().set("frrk8s.enabled=true"), 12),
        (metallb().set("frrk8s.external=true,frrk8s.namespace=frr"), 2),
        (metallb().set(certificates), 12),
        (metallb_operator(), 2),
    ];
    for (chart, containers) in cases {
        let mut seen = 0;
        for object in chart.objects().0 {
            let verdict = judge(&object, Platform::Plain);
            seen += verdict.containers;
            let name = &object["metadata"]["name"];
            assert!(verdict.complaints.is_empty(), "{name}: {:#?}", verdict.complaints);
        }
        assert_eq!(seen, containers);
    }
}
