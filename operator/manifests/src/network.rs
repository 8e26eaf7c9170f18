//! NetworkPolicies: each selects pods of ours and nothing else.
//!
//! Upstream: its bundle denies all traffic of every pod in the namespace, also of those that others run there.
//! Pods that have the network of their node, such as speakers, are beyond the reach of policies.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use metallb_api::names;

use crate::{
    context::{Context, Door},
    object::meta,
    pod::{component_labels, selector},
};

/// The policy of the controller: it talks to API servers, and Prometheus to it.
pub(crate) fn controller(context: &Context<'_>) -> NetworkPolicy {
    let mut ingress: Vec<u16> = context.metrics_port().into_iter().collect();
    if context.door == Door::Manifests {
        ingress.push(names::WEBHOOK_PORT);
    }
    let labels = component_labels(names::CONTROLLER);
    policy(names::CONTROLLER, labels, &ingress, &context.api_server_ports())
}

/// Narrows the traffic of pods to TCP: anybody to the `ingress` ports, and they to anybody's `egress` ports.
///
/// Without `egress` that is any port: what a policy sees is the port of an API server's endpoint, which every
/// distribution chooses for itself. Ports are numbers, for API servers have no pods that could name theirs.
///
/// Upstream: 6443 only.
pub(crate) fn policy(name: &str, pods: BTreeMap<String, String>, ingress: &[u16], egress: &[u16]) -> NetworkPolicy {
    let ports = |numbers: &[u16]| Some(numbers.iter().map(|number| port(Some(*number))).collect::<Vec<_>>());
    let incoming = NetworkPolicyIngressRule {
        from: None,
        ports: ports(ingress),
    };
    let outgoing = NetworkPolicyEgressRule {
        to: None,
        ports: if egress.is_empty() {
            Some(vec![port(None)])
        } else {
            ports(egress)
        },
    };
    NetworkPolicy {
        metadata: meta(name, pods.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(pods)),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            // A rule without ports would allow all of them.
            ingress: (!ingress.is_empty()).then(|| vec![incoming]),
            egress: Some(vec![outgoing]),
        }),
    }
}

fn port(number: Option<u16>) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: number.map(|number| IntOrString::Int(number.into())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}
