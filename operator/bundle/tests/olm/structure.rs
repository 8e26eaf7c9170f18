//! What `operator-sdk bundle validate` demands of every bundle.

use std::collections::BTreeSet;

use metallb_api::names;
use metallb_bundle::{PACKAGE, Release};
use metallb_manifests::{Object, install};
use serde_json::{Value, json};

use super::{annotation, crds, csv, examples, list, manifests, owned, provided};

/// What OLM takes in a bundle, of what we could have.
const KINDS: [&str; 11] = [
    "ClusterServiceVersion",
    "CustomResourceDefinition",
    "Secret",
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "Service",
    "Role",
    "RoleBinding",
    "NetworkPolicy",
    "PodDisruptionBudget",
];

fn file(name: &str) -> String {
    super::FILES[name].clone()
}

fn annotations() -> Value {
    serde_saphyr::from_str::<Value>(&file("bundle/metadata/annotations.yaml")).unwrap()["annotations"].clone()
}

// OP-81
#[test]
fn annotations_and_labels_are_equal() {
    let labels: BTreeSet<_> = file("bundle.Dockerfile")
        .lines()
        .filter_map(|line| line.strip_prefix("LABEL ")?.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let annotations = annotations();
    let annotations = annotations.as_object().unwrap().iter();
    let annotations: BTreeSet<_> = annotations
        .map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(labels, annotations);
}

// OP-81
#[test]
fn package_and_default_channel_are_declared() {
    let of = |key: &str| annotations()[format!("operators.operatorframework.io.bundle.{key}.v1")].clone();
    assert_eq!((of("package"), of("mediatype")), (PACKAGE.into(), "registry+v1".into()));
    let default = of("channel.default");
    assert!(
        of("channels")
            .as_str()
            .unwrap()
            .split(',')
            .any(|channel| default == channel)
    );
}

// OP-91, OP-79 (5, 6, 10)
#[test]
fn every_object_is_there_once_and_of_a_kind_that_olm_takes() {
    let mut seen = BTreeSet::new();
    for (name, object) in manifests() {
        let kind = object["kind"].as_str().unwrap();
        assert!(KINDS.contains(&kind), "{name} is a {kind}");
        assert!(
            seen.insert((kind.to_owned(), object["metadata"]["name"].to_string())),
            "{name} is there twice"
        );
        assert!(
            object["metadata"]["namespace"].is_null() || kind == "ClusterServiceVersion",
            "{name} has a namespace"
        );
    }
    // Not compressed, and yet below the limit for what is compressed.
    let size: usize = manifests().values().map(|object| object.to_string().len()).sum();
    assert!(size < 1_048_576 * 85 / 100, "{size} bytes");
}

// OP-79 (7), OP-82
#[test]
fn what_is_owned_is_in_the_bundle_and_the_other_way_round() {
    let mut listed: Vec<_> = owned()
        .iter()
        .map(|entry| {
            let (_, group) = entry["name"].as_str().unwrap().split_once('.').unwrap();
            format!(
                "{group}/{}/{}",
                entry["version"].as_str().unwrap(),
                entry["kind"].as_str().unwrap()
            )
        })
        .collect();
    listed.sort();
    assert_eq!(listed, provided());
    assert!(listed.windows(2).all(|pair| pair[0] != pair[1]));
}

// OP-79 (14), OP-83
#[test]
fn every_owned_kind_has_exactly_one_example() {
    let mut shown: Vec<_> = examples()
        .iter()
        .map(|example| {
            format!(
                "{}/{}",
                example["apiVersion"].as_str().unwrap(),
                example["kind"].as_str().unwrap()
            )
        })
        .collect();
    shown.sort();
    assert_eq!(shown, provided());
}

// OP-79 (15), OP-84
#[test]
fn it_is_for_all_namespaces_because_of_the_conversion() {
    let modes = list(&csv()["spec"]["installModes"]);
    let supported: Vec<_> = modes
        .iter()
        .filter(|mode| mode["supported"] == true)
        .map(|mode| &mode["type"])
        .collect();
    assert_eq!((modes.len(), supported), (4, vec![&json!("AllNamespaces")]));
    let definitions = list(&csv()["spec"]["webhookdefinitions"]);
    let conversion = definitions
        .iter()
        .find(|definition| definition["type"] == "ConversionWebhook")
        .unwrap();
    assert_eq!(conversion["conversionCRDs"], json!(["bgppeers.metallb.io"]));
    assert!(crds().iter().all(|crd| crd["spec"]["preserveUnknownFields"].is_null()));
}

/// Tells whether fields that a schema does not know are kept, at every level.
fn keeps_unknown_fields(schema: &Value) -> bool {
    let open = schema["type"] != "object"
        || schema["x-kubernetes-preserve-unknown-fields"] == true
        || !schema["additionalProperties"].is_null();
    let inner = [&schema["items"], &schema["additionalProperties"]];
    let fields = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, field)| field);
    open && fields
        .chain(inner)
        .all(|field| field.is_null() || keeps_unknown_fields(field))
}

// OP-82
#[test]
fn what_is_stored_of_another_owners_frr_k8s_loses_nothing() {
    let crds = crds();
    let foreign: Vec<_> = crds
        .iter()
        .filter(|crd| crd["spec"]["group"] == "frrk8s.metallb.io")
        .collect();
    assert_eq!(foreign.len(), 4);
    for crd in foreign {
        let kind = &crd["spec"]["names"]["kind"];
        let scope = if kind == "FRRNodeState" {
            "Cluster"
        } else {
            "Namespaced"
        };
        assert_eq!(crd["spec"]["scope"], scope, "{kind}");
        let [version] = &list(&crd["spec"]["versions"])[..] else {
            panic!("{kind} has several versions")
        };
        assert_eq!(
            [&version["name"], &version["served"], &version["storage"]],
            [&json!("v1beta1"), &json!(true), &json!(true)],
            "{kind}"
        );
        // Metadata is Kubernetes' own.
        let parts = &version["schema"]["openAPIV3Schema"]["properties"];
        let parts = ["spec", "status"].map(|part| &parts[part]);
        assert!(parts.into_iter().any(|part| !part.is_null()), "{kind}");
        assert!(
            parts
                .into_iter()
                .all(|part| part.is_null() || keeps_unknown_fields(part)),
            "{kind}"
        );
    }
}

// OP-79 (9)
#[test]
fn accounts_are_left_to_olm() {
    assert!(manifests().values().all(|object| object["kind"] != "ServiceAccount"));
    let of = |part: &str| list(&csv()["spec"]["install"]["spec"][part]);
    let accounts: BTreeSet<_> = [of("permissions"), of("clusterPermissions")]
        .concat()
        .iter()
        .map(|entry| entry["serviceAccountName"].as_str().unwrap().to_owned())
        .collect();
    for object in install::components(&Release::current().install) {
        if let Object::ServiceAccount(_) = object {
            assert!(accounts.contains(object.name()), "OLM would not make {}", object.name());
        }
    }
}

// OP-79 (11), OP-85
#[test]
fn every_image_is_a_related_one() {
    let related: BTreeSet<_> = list(&csv()["spec"]["relatedImages"])
        .iter()
        .map(|entry| entry["image"].as_str().unwrap().to_owned())
        .collect();
    for deployment in list(&csv()["spec"]["install"]["spec"]["deployments"]) {
        for container in list(&deployment["spec"]["template"]["spec"]["containers"]) {
            assert!(related.contains(container["image"].as_str().unwrap()));
            for variable in list(&container["env"]) {
                let (name, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str());
                assert!(!name.ends_with("_IMAGE") || related.contains(value.unwrap()), "{name}");
            }
        }
    }
    for image in &related {
        assert!(
            image.parse::<metallb_manifests::Image>().is_ok() && image.contains([':', '@']),
            "{image}"
        );
    }
}

// OP-79 (13), OP-88
#[test]
fn name_and_version_agree_and_every_older_release_can_be_upgraded() {
    let (csv, version) = (csv(), env!("CARGO_PKG_VERSION"));
    let name = csv["metadata"]["name"].as_str().unwrap();
    assert_eq!(
        (name, &csv["spec"]["version"]),
        (format!("{PACKAGE}.v{version}").as_str(), &json!(version))
    );
    assert!(name.len() <= 63);
    assert_eq!(annotation("olm.skipRange"), format!("<{version}"));
    let next = Release {
        version: "99.0.0".to_owned(),
        previous: Some(version.to_owned()),
        ..Release::current()
    };
    let files = next.files().unwrap();
    let next = &files["bundle/manifests/metallb-operator.clusterserviceversion.yaml"];
    assert!(next.contains(&format!("replaces: {name}")), "the edge is missing");
    assert!(files["olm/configs/metallb-operator/catalog.yaml"].contains(&format!("replaces: {name}")));
}

// OP-79 (16), OP-89
#[test]
fn the_namespace_that_is_suggested_admits_speakers() {
    let namespace: Value =
        serde_json::from_str(&annotation("operatorframework.io/suggested-namespace-template")).unwrap();
    assert_eq!(
        namespace["metadata"]["name"].as_str(),
        Some(annotation("operatorframework.io/suggested-namespace").as_str())
    );
    assert_eq!(namespace["metadata"]["name"], names::DEFAULT_NAMESPACE);
    for mode in ["audit", "enforce", "warn"] {
        assert_eq!(
            namespace["metadata"]["labels"][format!("pod-security.kubernetes.io/{mode}")],
            "privileged"
        );
    }
    let minimum = csv()["spec"]["minKubeVersion"].clone();
    let parts: Vec<_> = minimum.as_str().unwrap().split('.').map(str::parse::<u32>).collect();
    assert!(parts.len() == 3 && parts.iter().all(Result::is_ok), "{minimum}");
}

/// A Deployment's specification without what OLM changes.
fn without_certificates(mut spec: Value) -> Value {
    let pod = &mut spec["template"]["spec"];
    if let Some(volumes) = pod["volumes"].as_array_mut() {
        volumes.retain(|volume| volume["name"] != "cert");
    }
    pod["volumes"] = Value::Null;
    for container in pod["containers"].as_array_mut().unwrap() {
        container["volumeMounts"] = Value::Null;
        container["args"]
            .as_array_mut()
            .unwrap()
            .retain(|arg| arg != "--disable-cert-rotation=true");
    }
    spec
}

// OP-86
#[test]
fn deployments_are_those_of_the_plain_manifests_but_for_certificates() {
    let ours = list(&csv()["spec"]["install"]["spec"]["deployments"]);
    let mut compared = 0;
    for object in install::components(&Release::current().install) {
        if let Object::Deployment(deployment) = &object {
            let found = ours.iter().find(|entry| entry["name"] == object.name()).unwrap();
            let plain = serde_json::to_value(&deployment.spec).unwrap();
            assert_eq!(without_certificates(found["spec"].clone()), without_certificates(plain));
            compared += 1;
        }
    }
    assert_eq!((compared, ours.len()), (2, 2));
}

// OP-86
#[test]
fn rights_are_those_of_the_plain_manifests() {
    let strategy = csv()["spec"]["install"]["spec"].clone();
    let (mut ours, mut plain) = (BTreeSet::new(), BTreeSet::new());
    for (part, kind) in [("permissions", "Role"), ("clusterPermissions", "ClusterRole")] {
        for entry in list(&strategy[part]) {
            ours.extend(list(&entry["rules"]).iter().map(|rule| format!("{kind} {rule}")));
        }
    }
    for object in manifests().values() {
        let kind = object["kind"].as_str().unwrap();
        if matches!(kind, "Role" | "ClusterRole") {
            assert_eq!(object["metadata"]["name"], "metallb-viewer");
            ours.extend(list(&object["rules"]).iter().map(|rule| format!("{kind} {rule}")));
        }
    }
    for object in install::components(&Release::current().install) {
        let rules = match &object {
            Object::Role(role) => ("Role", &role.rules),
            Object::ClusterRole(role) => ("ClusterRole", &role.rules),
            _ => continue,
        };
        plain.extend(
            rules
                .1
                .iter()
                .flatten()
                .map(|rule| format!("{} {}", rules.0, serde_json::to_value(rule).unwrap())),
        );
    }
    assert_eq!(ours, plain);
}

// OP-87. That every path is served is shown on a real API server.
#[test]
fn webhook_definitions_are_the_installed_webhooks() {
    let definitions = list(&csv()["spec"]["webhookdefinitions"]);
    let mut ours: Vec<_> = definitions
        .iter()
        .filter(|definition| definition["type"] == "ValidatingAdmissionWebhook")
        .map(|definition| (definition["generateName"].clone(), definition["webhookPath"].clone()))
        .collect();
    let mut plain = Vec::new();
    for object in install::webhook_configurations(&Release::current().install) {
        for webhook in list(&serde_json::to_value(&object).unwrap()["webhooks"]) {
            plain.push((
                webhook["name"].clone(),
                webhook["clientConfig"]["service"]["path"].clone(),
            ));
        }
    }
    let order = |a: &(Value, Value), b: &(Value, Value)| a.0.to_string().cmp(&b.0.to_string());
    ours.sort_by(order);
    plain.sort_by(order);
    assert_eq!(ours, plain);
    for definition in &definitions {
        assert_eq!(
            (&definition["containerPort"], &definition["targetPort"]),
            (&json!(443), &json!(9443))
        );
        let deployment = definition["deploymentName"].as_str().unwrap();
        assert!([names::WEBHOOK_DEPLOYMENT, names::OPERATOR_DEPLOYMENT].contains(&deployment));
    }
}

// OP-93
#[test]
fn the_catalog_has_one_head_in_each_channel_and_the_bundle_in_full() {
    let text = file("olm/configs/metallb-operator/catalog.yaml");
    let blobs: Vec<Value> = serde_saphyr::from_multiple::<Option<Value>>(&text)
        .unwrap()
        .into_iter()
        .flatten()
        .collect();
    let of = |schema: &str| {
        blobs
            .iter()
            .filter(|blob| blob["schema"] == schema)
            .cloned()
            .collect::<Vec<_>>()
    };
    let (package, channels, bundles) = (of("olm.package"), of("olm.channel"), of("olm.bundle"));
    assert_eq!((package.len(), channels.len(), bundles.len()), (1, 2, 1));
    assert!(
        channels
            .iter()
            .any(|channel| channel["name"] == package[0]["defaultChannel"])
    );
    for channel in &channels {
        assert_eq!(list(&channel["entries"]).len(), 1);
        assert_eq!(channel["entries"][0]["name"], bundles[0]["name"]);
    }
    let properties = list(&bundles[0]["properties"]);
    let count = |kind: &str| properties.iter().filter(|property| property["type"] == kind).count();
    assert_eq!(
        (count("olm.package"), count("olm.gvk"), count("olm.csv.metadata")),
        (1, provided().len(), 1)
    );
}
