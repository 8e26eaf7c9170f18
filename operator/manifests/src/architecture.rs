//! For which machines there are images, and how pods are kept off all others.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// The architectures that releases have an image for. What is not built and tried is not here.
pub const ARCHITECTURES: [&str; 1] = ["amd64"];

/// The label by which kubelet tells the architecture of its node.
const LABEL: &str = "kubernetes.io/arch";

/// Keeps a pod off nodes that its image is not for, besides whatever else its affinity and node selector say.
///
/// It is an affinity, for a node selector cannot name two values. Only pods of our image: those of FRR and frr-k8s are
/// for more machines than ours, and others may use them.
pub(crate) fn restrict(pod: &mut PodSpec, architectures: &[String]) {
    let required = pod
        .affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default()
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_default();
    let terms = &mut required.node_selector_terms;
    if terms.is_empty() {
        terms.push(restricted(NodeSelectorTerm::default(), architectures));
        return;
    }
    // One of the terms must hold, so each of them is narrowed; but one that says nothing holds for no node.
    for term in terms {
        if term.match_expressions.is_some() || term.match_fields.is_some() {
            *term = restricted(std::mem::take(term), architectures);
        }
    }
}

fn restricted(mut term: NodeSelectorTerm, architectures: &[String]) -> NodeSelectorTerm {
    term.match_expressions
        .get_or_insert_default()
        .push(NodeSelectorRequirement {
            key: LABEL.to_owned(),
            operator: "In".to_owned(),
            values: Some(architectures.to_vec()),
        });
    term
}

/// The list of a release.
pub(crate) fn released() -> Vec<String> {
    ARCHITECTURES.map(str::to_owned).into()
}

/// Reads a list, separated by commas; `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<Vec<String>> {
    let known = |name: &str| !name.is_empty() && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    text.split(',')
        .map(|name| Some(name.trim().to_owned()).filter(|name| known(name)))
        .collect()
}
