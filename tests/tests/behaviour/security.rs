//! What `docs/security.md` says of roles and pods is what is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use metallb_manifests::install::{Install, components, plain};
use metallb_manifests::{Environment, Object, desired};
use serde_json::{Value, json};

/// The rows of the table below a heading, each as its cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    })
    .collect()
}

/// Everything that installers bring, in all modes, with monitors, for OpenShift too.
fn installed() -> Vec<Object> {
    let mut install = Install::release("metallb-system");
    let mut all = components(&install);
    all.extend(
        plain::MODES
            .into_iter()
            .flat_map(|mode| plain::objects(&install, mode, true)),
    );
    install.openshift = true;
    all.extend(components(&install));
    all
}

fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_role_is_in_the_table_with_those_who_have_it() {
    let mut real: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for object in installed() {
        let name = object.to_string();
        let object = serde_json::to_value(&object).unwrap();
        if name.starts_with("Role/") || name.starts_with("ClusterRole/") {
            let (kind, name) = name.split_once('/').unwrap();
            real.entry((name.to_owned(), kind.to_owned())).or_default();
        } else if let Some(subjects) = object["subjects"].as_array() {
            let of = |field: &str| object["roleRef"][field].as_str().unwrap().to_owned();
            let names = subjects.iter().map(|it| it["name"].as_str().unwrap().to_owned());
            real.entry((of("name"), of("kind"))).or_default().extend(names);
        }
    }
    let mut told = BTreeMap::new();
    for row in table("Accounts") {
        for kind in row[1].split(", ") {
            let role = quoted(&row[0]).pop_first().unwrap();
            assert_eq!(told.insert((role, kind.to_owned()), quoted(&row[2])), None);
        }
    }
    assert_eq!(told, real);
}

/// How a pod stands to its node: whose network, whether root is in it, and its capabilities.
fn standing(pod: &Value) -> [String; 3] {
    let lists = ["initContainers", "containers"].map(|list| pod[list].as_array().cloned().unwrap_or_default());
    let contexts: Vec<_> = lists.concat().iter().map(|it| it["securityContext"].clone()).collect();
    let adds = contexts.iter().filter_map(|it| it["capabilities"]["add"].as_array());
    let capabilities: BTreeSet<&str> = adds.flatten().filter_map(Value::as_str).collect();
    let none = capabilities.is_empty();
    [
        if pod["hostNetwork"] == true { "node" } else { "pod" }.to_owned(),
        if contexts.iter().any(|it| it["runAsUser"] == 0) {
            "yes"
        } else {
            "no"
        }
        .to_owned(),
        if none {
            "none".to_owned()
        } else {
            Vec::from_iter(capabilities).join(", ")
        },
    ]
}

#[test]
fn every_pod_is_in_the_table_with_what_it_may_do_on_its_node() {
    let environment = Environment::from_variables(|name| match name {
        "OPERATOR_NAMESPACE" => Some("metallb-system".to_owned()),
        "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => Some("example.com/metallb:1".to_owned()),
        _ => None,
    })
    .unwrap();
    let mut real: BTreeMap<String, [String; 3]> = BTreeMap::new();
    let mut add = |objects: Vec<Object>, mode: &str| {
        for object in objects {
            let name = object.to_string();
            let pod = serde_json::to_value(&object).unwrap()["spec"]["template"]["spec"].take();
            if pod.is_object() {
                let frr = if name == "DaemonSet/speaker" && mode == "frr" {
                    " with `frr`"
                } else {
                    ""
                };
                let known = real.insert(format!("`{name}`{frr}"), standing(&pod));
                assert!(
                    known.is_none_or(|known| known == standing(&pod)),
                    "{name} in mode {mode}"
                );
            }
        }
    };
    add(components(&Install::release("metallb-system")), "");
    for mode in ["native", "frr", "frr-k8s"] {
        let spec = serde_json::from_value(json!({ "bgpBackend": mode })).unwrap();
        add(desired(&spec, &environment).unwrap(), mode);
    }
    let told = table("Pods").into_iter().map(|row| {
        let [name, network, root, capabilities] = row.try_into().unwrap();
        (name, [network, root, capabilities])
    });
    assert_eq!(told.collect::<BTreeMap<_, _>>(), real);
}
