use super::*;

fn policy(spec: Value) -> Value {
    find(&rendered(spec, &environment()), "NetworkPolicy/controller")
}

/// The ports of a rule: 0 is any.
fn ports(rule: &Value) -> Vec<u64> {
    let ports = rule[0]["ports"].as_array().into_iter().flatten();
    ports
        .inspect(|it| assert_eq!(it["protocol"], "TCP"))
        .map(|it| it["port"].as_u64().unwrap_or(0))
        .collect()
}

// OP-59
#[test]
fn the_policy_selects_the_controllers_pods_only() {
    let objects = rendered(json!({}), &environment());
    let policy = find(&objects, "NetworkPolicy/controller");
    let controller = find(&objects, "Deployment/controller");
    assert_eq!(
        policy["spec"]["podSelector"]["matchLabels"],
        controller["spec"]["template"]["metadata"]["labels"]
    );
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(
        (ports(&policy["spec"]["ingress"]), ports(&policy["spec"]["egress"])),
        (vec![9120], vec![0])
    );
}

// A policy sees the port of the API server's endpoint: 6443 with kubeadm, 16443 on MicroK8s, 8443 on minikube.
#[test]
fn no_installation_names_the_port_of_api_servers() {
    let install = crate::install::Install::release("metallb-system");
    let mut objects = crate::install::objects(&install);
    objects.extend(crate::install::plain::network_policies(&install));
    let policies: Vec<_> = objects
        .iter()
        .filter(|it| it.to_string().starts_with("NetworkPolicy/"))
        .map(json)
        .collect();
    assert_eq!(policies.len(), 3);
    for policy in policies {
        assert_eq!(ports(&policy["spec"]["egress"]), [0], "{policy}");
    }
}

#[test]
fn ports_of_api_servers_and_metrics_can_be_chosen() {
    let policy = policy(json!({ "networkPolicies": { "apiServerPorts": [8443] }, "metrics": { "port": 9000 } }));
    assert_eq!(
        (ports(&policy["spec"]["ingress"]), ports(&policy["spec"]["egress"])),
        (vec![9000], vec![8443])
    );
}

#[test]
fn without_metrics_nobody_gets_in() {
    let policy = policy(json!({ "metrics": { "enabled": false } }));
    assert!(policy["spec"]["ingress"].is_null());
}

// OP-30
#[rstest]
#[case(true, json!({}), true)]
#[case(false, json!({}), false)]
#[case(false, json!({ "networkPolicies": { "enabled": true } }), true)]
#[case(true, json!({ "networkPolicies": { "enabled": false } }), false)]
fn policies_can_be_switched_off_and_on(#[case] environment_says: bool, #[case] spec: Value, #[case] wanted: bool) {
    let environment = Environment {
        network_policies: environment_says,
        ..environment()
    };
    let found = names(&rendered(spec, &environment)).contains(&"NetworkPolicy/controller".to_owned());
    assert_eq!(found, wanted);
}
