//! Every value does what its comment says.

use serde_json::{Value, json};

use crate::helm::{Objects, metallb, metallb_operator, names, strings};

const CONTROLLER: &str = "Deployment/metallb-controller";
pub(crate) const SPEAKER: &str = "DaemonSet/metallb-speaker";

pub(crate) fn args<'a>(objects: &'a Objects, workload: &str, container: &str) -> Vec<&'a str> {
    strings(&objects.container(workload, container)["args"])
}

pub(crate) fn rendered(values: &str) -> Objects {
    metallb().set(values).objects()
}

// OP-62, OP-19
pub(crate) fn flags_come_in_upstreams_order() {
    let objects = rendered(
        "loadBalancerClass=example.com/lb,speaker.wanConfig=true,speaker.ignoreExcludeLB=true,\
         speaker.bgpDebounceTimeout=1000,speaker.gratuitousARPInterval=90,frrk8s.external=true,frrk8s.namespace=frr,frrk8s.secretPassthrough=true,\
         tls.cipherSuites=A\\,B,tls.curvePreferences=29,tls.minVersion=VersionTLS12,\
         tls.speakerMetricsTLSSecret=s,tls.controllerMetricsTLSSecret=c,prometheus.metricsPort=7472,\
         speaker.logLevel=debug,speaker.livenessProbe.port=1,speaker.readinessProbe.port=1",
    );
    assert_eq!(
        args(&objects, SPEAKER, "speaker"),
        [
            "--port=7472",
            "--health-probe-port=1",
            "--log-level=debug",
            "--lb-class=example.com/lb",
            "--ml-wan-config",
            "--ignore-exclude-lb",
            "--bgp-debounce-timeout=1000",
            "--gratuitous-arp-interval=90",
            "--frrk8s-namespace=frr",
            "--frrk8s-secret-passthrough",
            "--tls-cipher-suites=A,B",
            "--tls-curve-preferences=29",
            "--tls-min-version=VersionTLS12",
            "--metrics-cert-dir=/etc/metrics",
        ]
    );
    assert_eq!(
        args(&objects, CONTROLLER, "controller"),
        [
            "--port=7472",
            "--health-probe-port=17472",
            "--log-level=info",
            "--lb-class=example.com/lb",
            "--webhook-mode=enabled",
            "--tls-cipher-suites=A,B",
            "--tls-curve-preferences=29",
            "--tls-min-version=VersionTLS12",
            "--metrics-cert-dir=/etc/metrics",
        ]
    );
}

/// Whatever the chart renders, our programs take: upstream's flags are ours.
pub(crate) fn the_programs_understand_their_flags() {
    let objects = rendered(
        "loadBalancerClass=example.com/lb,speaker.wanConfig=true,speaker.ignoreExcludeLB=true,\
         speaker.bgpDebounceTimeout=1000,tls.cipherSuites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
         tls.minVersion=VersionTLS12,tls.curvePreferences=29,tls.speakerMetricsTLSSecret=s",
    );
    let line = std::iter::once("controller").chain(args(&objects, CONTROLLER, "controller"));
    metallb_controller::Args::parse_go(line.map(str::to_owned)).unwrap();
}

// OP-73
pub(crate) fn metrics_certificates_are_mounted_where_the_flag_points() {
    let objects = rendered("tls.speakerMetricsTLSSecret=s,tls.controllerMetricsTLSSecret=c,speaker.frr.enabled=true");
    for (workload, container, secret) in [
        (CONTROLLER, "controller", "c"),
        (SPEAKER, "speaker", "s"),
        (SPEAKER, "frr-metrics", "s"),
    ] {
        let mounts = objects.container(workload, container)["volumeMounts"]
            .as_array()
            .unwrap();
        assert!(
            mounts
                .iter()
                .any(|mount| mount["name"] == "metrics-certs" && mount["mountPath"] == "/etc/metrics")
        );
        let volumes = objects.pod(workload)["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == "metrics-certs").unwrap();
        assert_eq!(volume["secret"]["secretName"], secret);
    }
    assert!(args(&objects, SPEAKER, "frr-metrics").contains(&"--tls-cert-file=/etc/metrics/tls.crt"));
}

// OP-74
pub(crate) fn without_memberlist_nothing_of_it_is_left() {
    let objects = rendered("speaker.memberlist.enabled=false");
    let speaker = objects.container(SPEAKER, "speaker");
    assert!(
        !names(&speaker["env"])
            .iter()
            .any(|name| name.starts_with("METALLB_ML_"))
    );
    assert_eq!(names(&speaker["ports"]), ["metricshttps"]);
    assert_eq!(names(&objects.pod(SPEAKER)["volumes"]), ["metallb-excludel2"]);
    let controller = objects.container(CONTROLLER, "controller");
    assert_eq!(
        names(&controller["env"]),
        ["METALLB_POD_NAME", "METALLB_BGP_TYPE", "METALLB_IGNORE_EXCLUDE_LB"]
    );
}

// OP-74
pub(crate) fn memberlist_can_be_moved_and_renamed() {
    let objects = rendered(
        "speaker.memberlist.mlBindPort=1234,speaker.memberlist.mlBindAddrOverride=192.0.2.1,\
         speaker.memberlist.mlSecretKeyPath=/key,speaker.secretName=mine",
    );
    let speaker = objects.container(SPEAKER, "speaker");
    assert_eq!(
        speaker["env"][2],
        json!({"name": "METALLB_ML_BIND_ADDR", "value": "192.0.2.1"})
    );
    assert_eq!(
        speaker["env"][4],
        json!({"name": "METALLB_ML_BIND_PORT", "value": "1234"})
    );
    assert_eq!(
        speaker["env"][5],
        json!({"name": "METALLB_ML_SECRET_KEY_PATH", "value": "/key"})
    );
    assert_eq!(speaker["volumeMounts"][0]["mountPath"], "/key");
    assert_eq!(speaker["ports"][1]["containerPort"], 1234);
    assert_eq!(objects.pod(SPEAKER)["volumes"][0]["secret"]["secretName"], "mine");
    let controller = objects.container(CONTROLLER, "controller");
    assert_eq!(controller["env"][1]["value"], "mine");
    let rules = objects.get("Role/metallb-controller")["rules"].as_array().unwrap();
    let named = |name: &str| {
        let mut rules = rules.iter().filter(|rule| rule["resources"] == json!(["secrets"]));
        rules.find(|rule| rule["resourceNames"] == json!([name]))
    };
    assert_eq!(strings(&named("mine").unwrap()["verbs"]), ["get"]);
    assert!(named("metallb-webhook-cert").is_some() && named("metallb-memberlist").is_none());
}

// OP-75
pub(crate) fn pod_settings_reach_their_component_and_no_other() {
    for (component, workload, other) in [("controller", CONTROLLER, SPEAKER), ("speaker", SPEAKER, CONTROLLER)] {
        let values = [
            "priorityClassName=system-node-critical",
            "runtimeClassName=runc",
            "nodeSelector.zone=a",
            "podAnnotations.note=x",
            "labels.team=net",
            "resources.limits.memory=64Mi",
            "affinity.podAffinity=x",
            "tolerations[0].key=t",
            "extraContainers[0].name=extra",
            "image.pullPolicy=Always",
            "image.repository=example.com/a",
            "image.tag=sha256:00",
            "securityContext.runAsGroup=1",
            "serviceAccount.name=own",
            "livenessProbe.periodSeconds=7",
            "readinessProbe.enabled=false",
            "command=/other",
        ];
        let chart = metallb();
        let plain = chart.objects();
        let chart = values
            .iter()
            .fold(chart, |chart, value| chart.set(&format!("{component}.{value}")))
            .set("imagePullSecrets[0].name=pull");
        let objects = chart.objects();
        let pod = objects.pod(workload);
        let container = objects.container(workload, component);
        assert_eq!(pod["priorityClassName"], "system-node-critical");
        assert_eq!(pod["runtimeClassName"], "runc");
        assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux", "zone": "a"}));
        assert_eq!(pod["affinity"]["podAffinity"], "x");
        assert_eq!(
            pod["tolerations"].as_array().unwrap().last(),
            Some(&json!({"key": "t"}))
        );
        assert_eq!(names(&pod["containers"]), [component, "extra"]);
        assert_eq!(pod["securityContext"]["runAsGroup"], 1);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["serviceAccountName"], "own");
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "pull"}]));
        assert_eq!(container["image"], "example.com/a@sha256:00");
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(container["resources"], json!({"limits": {"memory": "64Mi"}}));
        assert_eq!(container["livenessProbe"]["periodSeconds"], 7);
        assert!(container["readinessProbe"].is_null());
        assert_eq!(container["command"], json!(["/other"]));
        let template = &objects.get(workload)["spec"]["template"]["metadata"];
        assert_eq!(template["annotations"], json!({"note": "x"}));
        assert_eq!(template["labels"]["team"], "net");
        assert_eq!(objects.get(workload)["metadata"]["labels"]["team"], "net");
        assert!(objects.get(workload)["spec"]["selector"]["matchLabels"]["team"].is_null());
        objects.get("ServiceAccount/own");
        let mut rest = objects.get(other).clone();
        rest["spec"]["template"]["spec"]
            .as_object_mut()
            .unwrap()
            .remove("imagePullSecrets");
        assert_eq!(&rest, plain.get(other));
    }
}

// OP-75
pub(crate) fn rollouts_happen_as_told() {
    let objects = rendered(
        "controller.strategy.type=Recreate,controller.replicas=2,speaker.updateStrategy.rollingUpdate.maxUnavailable=2",
    );
    assert_eq!(objects.get(CONTROLLER)["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(objects.get(CONTROLLER)["spec"]["replicas"], 2);
    let speaker = &objects.get(SPEAKER)["spec"]["updateStrategy"];
    assert_eq!(
        speaker,
        &json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}})
    );
}

// OP-101
pub(crate) fn as_many_old_revisions_are_kept_as_told() {
    let set = "controller.revisionHistoryLimit=0,speaker.revisionHistoryLimit=3";
    for (objects, kept) in [(rendered("controller.replicas=1"), [10, 10]), (rendered(set), [0, 3])] {
        let limits = [CONTROLLER, SPEAKER].map(|key| objects.get(key)["spec"]["revisionHistoryLimit"].clone());
        assert_eq!(limits, kept);
    }
}

/// Values files made from upstream's defaults name upstream's images without a tag: they mean the chart's own.
pub(crate) fn upstreams_default_images_are_ours_and_pinned_ones_stay() {
    let objects = rendered(
        "controller.image.repository=quay.io/metallb/controller,\
         speaker.image.repository=quay.io/metallb/speaker,speaker.image.tag=v0.16.1",
    );
    let image = objects.container(CONTROLLER, "controller")["image"].as_str().unwrap();
    assert_eq!(
        image,
        concat!("ghcr.io/metallb-rs/metallb:v", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        objects.container(SPEAKER, "speaker")["image"],
        "quay.io/metallb/speaker:v0.16.1"
    );
}

// W-21
pub(crate) fn excluded_interfaces_can_be_added_to_and_replaced() {
    let text = |values: &str| -> Vec<String> {
        let objects = rendered(values);
        let text = objects.get("ConfigMap/metallb-excludel2")["data"]["excludel2.yaml"]
            .as_str()
            .unwrap()
            .to_owned();
        let parsed: Value = serde_saphyr::from_str(&text).unwrap();
        let excluded = strings(&parsed["announcedInterfacesToExclude"]);
        excluded.iter().map(ToString::to_string).collect()
    };
    let added = text("speaker.excludeInterfaces.additional[0]=^wg.*");
    assert_eq!(added.len(), 15);
    assert_eq!(added.last().unwrap(), "^wg.*");
    assert_eq!(text("speaker.excludeInterfaces.replace[0]=^x$"), ["^x$"]);
    let without = rendered("speaker.excludeInterfaces.enabled=false");
    assert!(!without.keys().contains("ConfigMap/metallb-excludel2"));
    assert!(!names(&without.container(SPEAKER, "speaker")["volumeMounts"]).contains(&"metallb-excludel2"));
}

// OP-62
pub(crate) fn a_part_can_be_left_out() {
    let objects = rendered("speaker.enabled=false");
    assert!(
        !objects
            .keys()
            .iter()
            .any(|key| key.contains("speaker") || key.contains("excludel2"))
    );
    let subjects = &objects.get("RoleBinding/metallb-pod-lister")["subjects"];
    assert_eq!(names(subjects), ["metallb-controller"]);
    let objects = rendered("rbac.create=false,controller.serviceAccount.create=false");
    assert!(!objects.keys().iter().any(|key| key.contains("Role")));
    assert_eq!(objects.pod(CONTROLLER)["serviceAccountName"], "default");
    let objects = rendered("speaker.tolerateMaster=false");
    assert!(objects.pod(SPEAKER)["tolerations"].is_null());
}

/// Who built an image for another architecture says so at one place, and an affinity of one's own is narrowed by it.
pub(crate) fn pods_run_where_there_is_an_image_for_and_where_their_affinity_says() {
    let affinity = r#"{"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "zone", "operator": "Exists"}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}, {}]}}}"#;
    let arch = json!({"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]});
    let narrowed = json!([
        {"matchExpressions": [{"key": "zone", "operator": "Exists"}, arch]},
        {"matchExpressions": [arch], "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]},
        {},
    ]);
    let terms = |pod: &serde_json::Value| {
        pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone()
    };
    let objects = metallb()
        .json(r#"architectures=["amd64", "arm64"]"#)
        .json(&format!("speaker.affinity={affinity}"))
        .objects();
    assert_eq!(terms(objects.pod(CONTROLLER)), json!([{"matchExpressions": [arch]}]));
    assert_eq!(terms(objects.pod(SPEAKER)), narrowed);

    let objects = metallb_operator()
        .json(r#"architectures=["amd64", "arm64"]"#)
        .json(&format!("webhookServer.affinity={affinity}"))
        .objects();
    let operator = "Deployment/metallb-operator-controller-manager";
    assert_eq!(terms(objects.pod(operator)), json!([{"matchExpressions": [arch]}]));
    assert_eq!(
        terms(objects.pod("Deployment/metallb-operator-webhook-server")),
        narrowed
    );
    let variables = &objects.container(operator, "manager")["env"];
    let told = variables
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "ARCHITECTURES");
    assert_eq!(told.unwrap()["value"], "amd64,arm64");
}
