//! What the values of frr-k8s do.

use serde_json::json;

use crate::helm::{Objects, metallb, strings};
use crate::values::{SPEAKER, args, rendered};

/// An frr-k8s that is missing where a speaker is would announce nothing there.
pub(crate) fn frr_k8s_runs_where_the_speakers_do_unless_told_otherwise() {
    let speakers = "frrk8s.enabled=true,speaker.nodeSelector.role=edge,speaker.priorityClassName=system-node-critical,\
                    speaker.tolerations[0].key=edge,speaker.tolerations[0].operator=Exists,speaker.tolerateMaster=false";
    let objects = rendered(speakers);
    for workload in ["DaemonSet/metallb-frr-k8s", "Deployment/metallb-frr-k8s-statuscleaner"] {
        for field in ["nodeSelector", "tolerations", "priorityClassName"] {
            let speaker = &objects.pod(SPEAKER)[field];
            assert!(!speaker.is_null());
            assert_eq!(&objects.pod(workload)[field], speaker, "{workload}: {field}");
        }
    }
    let own = "frr-k8s.frrk8s.nodeSelector.role=router,frr-k8s.frrk8s.priorityClassName=high,\
               frr-k8s.frrk8s.tolerations[0].operator=Exists";
    let objects = rendered(&format!("{speakers},{own}"));
    for workload in ["DaemonSet/metallb-frr-k8s", "Deployment/metallb-frr-k8s-statuscleaner"] {
        let pod = objects.pod(workload);
        assert_eq!(pod["nodeSelector"]["role"], "router");
        assert_eq!(pod["priorityClassName"], "high");
        assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    }
}

// OP-78
pub(crate) fn values_of_frr_k8s_are_passed_on() {
    let objects = rendered(
        "frrk8s.enabled=true,frr-k8s.tls.metricsTLSSecret=c,frr-k8s.tls.minVersion=VersionTLS12,\
         frr-k8s.prometheus.secureMetricsPort=1,frr-k8s.frrk8s.frr.secureMetricsPort=2,frr-k8s.frrk8s.webhookPort=3,\
         frr-k8s.frrk8s.logLevel=debug,frr-k8s.frrk8s.alwaysBlock=192.0.2.0/24,frr-k8s.frrk8s.bgpDebounceTimeout=4,\
         frr-k8s.frrk8s.image.tag=v9,frr-k8s.frrk8s.frr.image.tag=10.9,frr-k8s.frrk8s.resources.limits.memory=1Gi,\
         frr-k8s.frrk8s.frrStatus.pollInterval=5m,frr-k8s.frrk8s.frr.acceptIncomingBGPConnections=true,\
         frr-k8s.frrk8s.serviceAccount.name=own,frr-k8s.frrk8s.disableCertRotation=true,\
         frr-k8s.frrk8s.tolerateMaster=false,frr-k8s.frrk8s.nodeSelector.zone=a,frr-k8s.frrk8s.startupProbe.enabled=false,\
         frr-k8s.crds.validationFailurePolicy=Ignore,frr-k8s.prometheus.serviceMonitor.enabled=true,\
         frr-k8s.prometheus.serviceMonitor.interval=30s",
    );
    const SET: &str = "DaemonSet/metallb-frr-k8s";
    const CLEANER: &str = "Deployment/metallb-frr-k8s-statuscleaner";
    assert_eq!(
        args(&objects, SET, "controller"),
        [
            "--node-name=$(NODE_NAME)",
            "--namespace=$(NAMESPACE)",
            "--metrics-bind-address=0.0.0.0:1",
            "--log-level=debug",
            "--always-block=192.0.2.0/24",
            "--bgp-debounce-timeout=4",
            "--tls-min-version=VersionTLS12",
            "--metrics-cert-dir=/etc/metrics",
        ]
    );
    assert_eq!(
        objects.container(SET, "controller")["image"],
        "quay.io/metallb/frr-k8s:v9"
    );
    assert_eq!(
        objects.container(SET, "controller")["resources"],
        json!({"limits": {"memory": "1Gi"}})
    );
    assert_eq!(objects.container(SET, "frr")["image"], "quay.io/frrouting/frr:10.9");
    assert!(objects.container(SET, "frr")["startupProbe"].is_null());
    assert!(args(&objects, SET, "frr-metrics").contains(&"--metrics-port=2"));
    assert!(args(&objects, SET, "frr-status").contains(&"--poll-interval=5m"));
    assert!(objects.pod(SET)["tolerations"].is_null());
    for workload in [SET, CLEANER] {
        assert_eq!(objects.pod(workload)["serviceAccountName"], "own");
        assert_eq!(objects.pod(workload)["nodeSelector"]["zone"], "a");
    }
    let cleaner = objects.container(CLEANER, "frr-k8s-statuscleaner");
    assert_eq!(cleaner["ports"][0]["containerPort"], 3);
    assert!(strings(&cleaner["args"]).contains(&"--disable-cert-rotation=true"));
    let daemons = objects.get("ConfigMap/metallb-frr-k8s-frr-startup")["data"]["daemons"]
        .as_str()
        .unwrap();
    assert!(daemons.contains("bgpd_options=\"-A 127.0.0.1 --limit-fds"), "{daemons}");
    let webhook = objects.get("ValidatingWebhookConfiguration/frr-k8s-validating-webhook-configuration");
    assert_eq!(webhook["webhooks"][0]["failurePolicy"], "Ignore");
    let monitor = objects.get("ServiceMonitor/metallb-frr-k8s-frr-k8s-monitor");
    assert_eq!(monitor["spec"]["endpoints"][0]["interval"], "30s");
    // The speaker hands routes over, in its own namespace.
    assert!(
        objects.get("ClusterRole/metallb:speaker")["rules"]
            .to_string()
            .contains("frrconfigurations")
    );
    assert_eq!(objects.container(SPEAKER, "speaker")["env"][6]["value"], "frr-k8s");
}

pub(crate) fn the_speaker_may_write_frr_configurations_only_for_frr_k8s() {
    let objects = rendered("speaker.frr.enabled=true");
    assert!(
        !objects.get("ClusterRole/metallb:speaker")["rules"]
            .to_string()
            .contains("frrk8s")
    );
    // What it says of its sessions is of a kind of frr-k8s, too.
    for values in [
        "speaker.frr.enabled=true",
        "frrk8s.enabled=false",
        "frrk8s.enabled=true",
    ] {
        let rights = rendered(values).get("Role/metallb-speaker")["rules"].to_string();
        assert!(rights.contains("bgpsessionstates/status"), "{values}: {rights}");
    }
    assert!(!objects.keys().iter().any(|key| key.contains("frr-k8s")));
}

// FRR-44, FRR-45
pub(crate) fn each_container_of_frr_has_its_values() {
    let own = |name: &str| json!({ "limits": { "memory": format!("{}Mi", 100 + name.len()) } });
    let named = [
        ("frr", "speaker.frr.resources"),
        ("reloader", "speaker.reloader.resources"),
        ("frr-metrics", "speaker.frrMetrics.resources"),
        ("cp-frr-files", "speaker.initContainers.cpFrrFiles.resources"),
        ("cp-reloader", "speaker.initContainers.cpReloader.resources"),
        ("cp-metrics", "speaker.initContainers.cpMetrics.resources"),
    ];
    let frr = "speaker.frr.image.repository=r/frr,speaker.frr.image.tag=10.9,speaker.frr.image.pullPolicy=Always,\
               speaker.frr.metricsPort=9999,speaker.startupProbe.failureThreshold=7,speaker.livenessProbe.periodSeconds=8";
    let mut chart = metallb().set("speaker.frr.enabled=true").set(frr);
    for (name, value) in named {
        chart = chart.json(&format!("{value}={}", own(name)));
    }
    let objects = chart.objects();
    for (name, _) in named {
        let container = objects.container(SPEAKER, name);
        assert_eq!(container["resources"], own(name), "{name}");
        let is_frr = !matches!(name, "cp-reloader" | "cp-metrics");
        assert_eq!(container["image"] == "r/frr:10.9", is_frr, "{name}");
        assert_eq!(container["imagePullPolicy"] == "Always", is_frr, "{name}");
    }
    let port = &objects.container(SPEAKER, "frr-metrics")["ports"][0];
    assert_eq!(
        (&port["name"], &port["containerPort"]),
        (&json!("frrmetricshttps"), &json!(9999))
    );
    assert!(args(&objects, SPEAKER, "frr-metrics").contains(&"--metrics-port=9999"));
    let container = objects.container(SPEAKER, "frr");
    for probe in ["startupProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], 9999, "{probe}");
    }
    assert_eq!(container["startupProbe"]["failureThreshold"], 7);
    assert_eq!(container["livenessProbe"]["periodSeconds"], 8);
}

// OP-102, FRR-66
pub(crate) fn frr_is_started_without_a_shell_as_the_values_say() {
    let frr = |objects: &Objects| {
        let frr = objects.container(SPEAKER, "frr");
        (frr["command"].clone(), frr["securityContext"].clone())
    };
    let (command, security) = frr(&rendered("speaker.frr.enabled=true"));
    assert_eq!(command, json!(["/sbin/tini", "--", "/usr/lib/frr/docker-start"]));
    assert_eq!(security["capabilities"]["add"].as_array().unwrap().len(), 4);

    let own = r#"{"enabled": true, "tiniPath": "/opt/a tini", "dockerStartPath": "/start\"; reboot",
        "securityContext": {"privileged": true}}"#;
    let (command, security) = frr(&metallb().json(&format!("speaker.frr={own}")).objects());
    assert_eq!(command, json!(["/opt/a tini", "--", "/start\"; reboot"]));
    assert_eq!(security, json!({"privileged": true}));
}
