//! Chart and operator deploy the same for the same intent (W-45): what may differ is listed here, and nothing else.

use metallb_api::MetalLBSpec;
use metallb_manifests::{Environment, Object, desired, install};
use serde_json::{Value, json};

use crate::helm::{NAMESPACE, key, metallb};

/// What the chart of release `metallb` calls otherwise: in names, and wherever names are used.
const NAMES: &[(&str, &str)] = &[
    ("metallb-controller", "controller"),
    ("metallb-speaker", "speaker"),
    ("metallb-pod-lister", "pod-lister"),
    ("metallb:controller", "metallb-system:controller"),
    ("metallb:speaker", "metallb-system:speaker"),
    ("metallb-frr-startup", "frr-startup"),
    ("metallb-frr-k8s", "frr-k8s"),
    ("metallb-frr-k8s-controller", "frr-k8s-daemon"),
    // Of these there are three names on the other side.
    ("frr-k8s-daemon-role", "frr-k8s-daemon"),
    ("frr-k8s-daemon-rolebinding", "frr-k8s-daemon"),
    ("metallb-frr-k8s-statuscleaner", "statuscleaner"),
    ("metallb-frr-k8s-frr-startup", "frr-k8s-frr-startup"),
    // Pods are found by labels that selectors fix for ever.
    (
        "app.kubernetes.io/name=metallb,app.kubernetes.io/component=speaker",
        "app=metallb,component=speaker",
    ),
];

/// What only one of the two has, and why.
const ONE_SIDED: &[(&str, &str)] = &[
    ("--webhook-mode=enabled", "the chart's controller serves the webhooks"),
    (
        "--webhook-mode=disabled",
        "the operator has a server of its own for them",
    ),
    ("webhook-server", "the port of the webhooks, likewise"),
    ("metallb-operator-webhook-server", "the operator's server of webhooks"),
];

fn environment() -> Environment {
    let image = concat!("ghcr.io/metallb-rs/metallb:v", env!("CARGO_PKG_VERSION"));
    let variable = |name| {
        let value = match name {
            "OPERATOR_NAMESPACE" => NAMESPACE,
            "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => image,
            // The chart has policies on demand only, as upstream's has.
            "DISABLE_NETWORK_POLICIES" => "true",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Environment::from_variables(variable).unwrap()
}

/// An object without what names and labels say, and with unordered things in order.
fn normal(object: &Value) -> Value {
    let mut object = object.clone();
    let name = renamed(&object["metadata"]["name"]);
    object["metadata"] = json!({ "name": name });
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("selector");
        if let Some(template) = spec.get_mut("template") {
            let annotations = template["metadata"]["annotations"].take();
            template["metadata"] = json!({ "annotations": annotations });
        }
    }
    tidy(&mut object);
    object
}

fn renamed(name: &Value) -> Value {
    let found = NAMES.iter().find(|(chart, _)| name == chart);
    found.map_or_else(|| name.clone(), |(_, operator)| json!(operator))
}

fn tidy(value: &mut Value) {
    match value {
        Value::String(_) => *value = renamed(value),
        Value::Array(items) => {
            items.retain(|item| !one_sided(item));
            items.iter_mut().for_each(tidy);
            // Mounts and volumes have no order; variables have.
            if items
                .iter()
                .all(|item| item.get("mountPath").is_some() || item.get("value").is_none())
            {
                items.sort_by_key(Value::to_string);
            }
        }
        Value::Object(fields) => {
            fields.values_mut().for_each(tidy);
            fields.retain(|_, field| !field.is_null() && *field != json!([]) && *field != json!({}));
            fields.sort_keys();
        }
        _ => {}
    }
}

fn one_sided(item: &Value) -> bool {
    let variable = || {
        format!(
            "{}={}",
            item["name"].as_str().unwrap_or_default(),
            item["value"].as_str().unwrap_or_default()
        )
    };
    ONE_SIDED
        .iter()
        .any(|(one, _)| item == one || item["name"] == *one || variable() == *one)
}

fn operators(values: impl IntoIterator<Item = Object>) -> Vec<Value> {
    let typed = values.into_iter().map(|object| {
        let mut value = serde_json::to_value(&object).unwrap();
        value["kind"] = json!(object.api_resource().kind);
        value["apiVersion"] = json!(object.api_resource().api_version);
        value
    });
    typed.collect()
}

#[track_caller]
fn assert_same(theirs: &[Value], charts: &[Value], what: impl Fn(&str) -> bool) {
    let index = |objects: &[Value]| -> Vec<(String, Value)> {
        let normal = objects.iter().map(normal).map(|object| (key(&object), object));
        let mut all: Vec<_> = normal.filter(|(key, _)| what(key)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    let (theirs, charts) = (index(theirs), index(charts));
    let keys = |all: &[(String, Value)]| all.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&theirs), keys(&charts));
    for ((key, theirs), (_, charts)) in theirs.iter().zip(&charts) {
        let (theirs, charts) = (format!("{theirs:#}"), format!("{charts:#}"));
        assert!(theirs == charts, "{key} differs:\n{}", difference(&theirs, &charts));
    }
}

/// The lines that only one text has.
fn difference(operator: &str, chart: &str) -> String {
    let lines = |one: &str, other: &str, sign: &str| -> String {
        let other: Vec<&str> = other.lines().collect();
        one.lines()
            .filter(|line| !other.contains(line))
            .map(|line| format!("{sign} {line}\n"))
            .collect()
    };
    lines(operator, chart, "operator:") + &lines(chart, operator, "chart:")
}

// OP-98, W-45
pub(crate) fn the_same_intent_makes_the_same_objects() {
    let cases: [(&str, &str); 7] = [
        ("{}", "rbac.create=true"),
        (r#"{"bgpBackend": "frr"}"#, "speaker.frr.enabled=true"),
        (
            r#"{"bgpBackend": "frr-k8s", "frrk8sConfig": {"alwaysBlock": ["192.0.2.0/24"]}}"#, // The operator watches the cleaner's Secret for nobody else.
            "frrk8s.enabled=true,frr-k8s.frrk8s.restartOnRotatorSecretRefresh=true,frr-k8s.frrk8s.alwaysBlock=192.0.2.0/24",
        ),
        (
            r#"{"bgpBackend": "frr-k8s-external", "frrk8sConfig": {"namespace": "x", "secretPassthrough": true}}"#,
            "frrk8s.external=true,frrk8s.namespace=x,frrk8s.secretPassthrough=true",
        ),
        (
            r#"{"memberlist": {"enabled": false}, "excludeInterfaces": {"enabled": false}, "ignoreExcludeLB": true,
        "bgpDebounceTimeout": 1000, "speakerGratuitousARPInterval": "1m30s",
        "speakerLayer2": {"fastFailover": false, "failback": "delayed", "failbackDelay": "1m30s", "checkAddresses": true},
        "speakerBGP": {"restartTime": "5m", "drain": ["cordon", "taint"], "drainWait": "0s"}, "imagePullSecrets": [{"name": "pull"}], "imagePullPolicy": "Always",
        "tls": {"minVersion": "VersionTLS12", "cipherSuites": ["A", "B"], "curvePreferences": [29]}}"#,
            "speaker.memberlist.enabled=false,speaker.excludeInterfaces.enabled=false,speaker.ignoreExcludeLB=true,\
     speaker.bgpDebounceTimeout=1000,speaker.gratuitousARPInterval=90,speaker.layer2.fastFailover=false,speaker.layer2.failback=delayed,\
     speaker.layer2.failbackDelay=90,speaker.layer2.checkAddresses=true,speaker.bgp.restartTime=300,speaker.bgp.drain={cordon,taint},\
     speaker.bgp.drainWait=0,imagePullSecrets[0].name=pull,controller.image.pullPolicy=Always,\
     speaker.image.pullPolicy=Always,tls.minVersion=VersionTLS12,tls.cipherSuites=A\\,B,tls.curvePreferences=29",
        ),
        (
            r#"{"controllerConfig": {"replicas": 2, "labels": {"a": "b"}, "topologySpreadConstraints":
        [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]}}"#,
            "controller.replicas=2,controller.topologySpreadConstraints[0].maxSkew=1,controller.labels.a=b,\
     controller.topologySpreadConstraints[0].topologyKey=zone,\
     controller.topologySpreadConstraints[0].whenUnsatisfiable=ScheduleAnyway",
        ),
        (
            r#"{"logLevel": "debug", "loadBalancerClass": "example.com/lb", "nodeSelector": {"a": "b"},
        "controllerNodeSelector": {"c": "d"}, "speakerTolerations": [{"key": "k", "operator": "Exists"}],
        "controllerTolerations": [{"key": "l", "operator": "Exists"}],
        "speakerConfig": {"priorityClassName": "p", "runtimeClassName": "r", "annotations": {"x": "y"},
                          "resources": {"limits": {"memory": "64Mi"}}},
        "controllerConfig": {"priorityClassName": "q", "annotations": {"z": "w"}}}"#,
            "controller.logLevel=debug,speaker.logLevel=debug,loadBalancerClass=example.com/lb,speaker.nodeSelector.a=b,\
     controller.nodeSelector.c=d,speaker.tolerations[0].key=k,speaker.tolerations[0].operator=Exists,\
     controller.tolerations[0].key=l,controller.tolerations[0].operator=Exists,speaker.priorityClassName=p,\
     speaker.runtimeClassName=r,speaker.podAnnotations.x=y,speaker.resources.limits.memory=64Mi,\
     controller.priorityClassName=q,controller.podAnnotations.z=w",
        ),
    ];
    for (spec, values) in cases {
        let chart = metallb();
        let spec: MetalLBSpec = serde_json::from_str(spec).unwrap();
        let objects = operators(desired(&spec, &environment()).unwrap());
        assert_same(&objects, &chart.set(values).objects().0, |key| {
            let rights = ["Role", "ClusterRole", "CustomResourceDefinition"];
            // The webhooks of MetalLB itself, and the account that reads its state, are installed with the operator.
            let installed = ["/metallb-webhook", "/metallb-inspect"];
            !rights.iter().any(|kind| key.starts_with(kind)) && !installed.iter().any(|name| key.contains(name))
        });
    }
}

// OP-98, W-45
pub(crate) fn rights_and_webhooks_are_those_of_the_other_ways_to_install() {
    let chart = metallb();
    let install = install::Install::release(NAMESPACE);
    let objects = operators(install::objects(&install));
    // The operator has the rights of every back-end ready, and those of OpenShift.
    let charts = chart.set("frrk8s.enabled=true").objects();
    assert_same(&objects, &charts.0, |key| {
        let kinds = ["ClusterRole", "Role", "ValidatingWebhookConfiguration/metallb-webhook"];
        let others = ["/metallb-manager", "/metallb-metrics-reader", "-scc"];
        kinds.iter().any(|kind| key.starts_with(kind)) && !others.iter().any(|name| key.contains(name))
    });
}
