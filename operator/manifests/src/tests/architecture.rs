use super::*;

fn in_list(architectures: &[&str]) -> Value {
    json!({ "key": "kubernetes.io/arch", "operator": "In", "values": architectures })
}

fn terms(pod: &Value) -> &Value {
    &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
}

/// The pods of the operator's own installation and of what it deploys.
fn pods(spec: Value, environment: &Environment) -> Vec<(String, Value)> {
    let workload = |object: &Object| {
        let value = json(object);
        value["spec"]["template"]["spec"]
            .is_object()
            .then(|| (object.to_string(), pod(&value).clone()))
    };
    let deployed = desired(&read(spec), environment).unwrap();
    let installed = install::objects(&install::Install::release("metallb-system"));
    deployed.iter().chain(&installed).filter_map(workload).collect()
}

#[test]
fn nothing_of_ours_is_scheduled_where_there_is_no_image_for() {
    for backend in ["native", "frr", "frr-k8s", "frr-k8s-external"] {
        let mut seen = Vec::new();
        for (name, pod) in pods(json!({ "bgpBackend": backend }), &environment()) {
            // Their image is not ours, and for more machines.
            if ["DaemonSet/frr-k8s", "Deployment/statuscleaner"].contains(&name.as_str()) {
                assert!(pod["affinity"].is_null(), "{name}");
                continue;
            }
            assert_eq!(
                *terms(&pod),
                json!([{ "matchExpressions": [in_list(&["amd64"])] }]),
                "{name}"
            );
            seen.push(name);
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
    }
}

#[test]
fn whoever_has_another_image_says_so_once() {
    let other = Environment {
        architectures: vec!["arm64".to_owned(), "amd64".to_owned()],
        ..environment()
    };
    for pod in [
        speaker(&read(json!({})), &other).spec.unwrap().template.spec,
        controller(&read(json!({})), &other).spec.unwrap().template.spec,
    ] {
        assert_eq!(
            *terms(&json(&pod)),
            json!([{ "matchExpressions": [in_list(&["arm64", "amd64"])] }])
        );
    }
}

// The image's architectures and what the user wants both hold.
#[test]
fn the_users_affinity_is_narrowed_and_kept() {
    let zone = json!({ "key": "zone", "operator": "In", "values": ["a"] });
    let name = json!({ "key": "metadata.name", "operator": "In", "values": ["n"] });
    let affinity = json!({
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchExpressions": [zone] }, { "matchFields": [name] }, {},
            ] },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                { "weight": 1, "preference": { "matchExpressions": [zone] } },
            ],
        },
        "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "zone" }] },
    });
    let spec = json!({ "nodeSelector": { "kubernetes.io/arch": "arm64" }, "speakerConfig": { "affinity": affinity } });
    let pod = json(&speaker_pod(&read(spec)));
    // A term that says nothing matches nothing, and must not begin to match.
    let wanted = json!([
        { "matchExpressions": [zone, in_list(&["amd64"])] },
        { "matchFields": [name], "matchExpressions": [in_list(&["amd64"])] },
        {},
    ]);
    assert_eq!(*terms(&pod), wanted);
    let part = |path: &str| (pod["affinity"].pointer(path).cloned(), affinity.pointer(path).cloned());
    for path in [
        "/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution",
        "/podAntiAffinity",
    ] {
        let (found, wanted) = part(path);
        assert_eq!(found, wanted, "{path}");
    }
    assert_eq!(pod["nodeSelector"]["kubernetes.io/arch"], "arm64");
}

#[rstest]
#[case("arm64", Ok(vec!["arm64"]))]
#[case("amd64, arm64", Ok(vec!["amd64", "arm64"]))]
#[case("", Ok(vec!["amd64"]))]
#[case("amd64,", Err(()))]
#[case("linux/amd64", Err(()))]
fn the_variable_lists_architectures(#[case] text: &'static str, #[case] wanted: Result<Vec<&str>, ()>) {
    let environment = Environment::from_variables(|name| match name {
        "ARCHITECTURES" => Some(text.to_owned()),
        "OPERATOR_NAMESPACE" => Some("metallb-system".to_owned()),
        "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => Some("a:1".to_owned()),
        _ => None,
    });
    match (environment, wanted) {
        (Ok(environment), Ok(wanted)) => assert_eq!(environment.architectures, wanted),
        (Err(error), Err(())) => {
            let error = error.to_string();
            assert!(error.contains("ARCHITECTURES") && error.contains(text), "{error}");
        }
        (found, wanted) => panic!("{found:?}, not {wanted:?}"),
    }
}
