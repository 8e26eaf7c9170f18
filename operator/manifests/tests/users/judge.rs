//! Whether containers run as a user who can do and read what they are given.

use serde_json::Value;

/// Who chooses the user of a pod that names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    /// Nobody: the image's would be used, and kubelet refuses one that is a name.
    Plain,
    /// OpenShift takes one from the namespace's range.
    OpenShift,
}

/// Containers that add nothing and need root all the same, with the reason.
const ROOT: [(&str, &str); 3] = [
    (
        "reloader",
        "the speaker signals it, having no capability over other users",
    ),
    ("frr-metrics", "it asks watchfrr, whose socket is root's"),
    ("frr-status", "as frr-metrics"),
];

/// How many containers an object runs, and what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) containers: usize,
    pub(crate) complaints: Vec<String>,
}

/// Judges all pods of an object: of a workload, or of the Deployments in a ClusterServiceVersion.
pub(crate) fn judge(object: &Value, platform: Platform) -> Verdict {
    let mut verdict = Verdict::default();
    let deployments = items(&object["spec"]["install"]["spec"]["deployments"]);
    for workload in std::iter::once(object).chain(deployments) {
        let pod = &workload["spec"]["template"]["spec"];
        for container in items(&pod["initContainers"]).chain(items(&pod["containers"])) {
            let name = container["name"].as_str().unwrap_or_default();
            verdict.containers += 1;
            let found = complaints(pod, container, platform).into_iter();
            verdict
                .complaints
                .extend(found.map(|it| format!("container {name}: {it}")));
        }
    }
    verdict
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// What the container says, else what its pod says.
fn effective<'a>(pod: &'a Value, container: &'a Value, field: &str) -> &'a Value {
    let own = &container["securityContext"][field];
    if own.is_null() {
        &pod["securityContext"][field]
    } else {
        own
    }
}

fn complaints(pod: &Value, container: &Value, platform: Platform) -> Vec<String> {
    let user = effective(pod, container, "runAsUser").as_u64();
    let never_root = effective(pod, container, "runAsNonRoot") == true;
    let adds = items(&container["securityContext"]["capabilities"]["add"])
        .next()
        .is_some();
    let root = ROOT.iter().any(|(name, _)| container["name"] == *name);
    let mut found = Vec::new();
    if adds || root {
        if user != Some(0) {
            found.push(format!("must run as root for what it is given, runs as {user:?}"));
        }
        if never_root {
            found.push("must run as root, and must not: kubelet refuses it".to_owned());
        }
    } else {
        if !never_root {
            found.push("need not run as root, and may".to_owned());
        }
        if !user.map_or(platform == Platform::OpenShift, |user| user > 0) {
            found.push(format!("must run as a number that is not root's, runs as {user:?}"));
        }
    }
    found.extend(unreadable(pod, container, user));
    found
}

/// The mounts whose files are for their owner alone, who is root, where the container runs as another.
fn unreadable(pod: &Value, container: &Value, user: Option<u64>) -> Vec<String> {
    // kubelet lets the pod's group read whatever it mounts.
    if user == Some(0) || pod["securityContext"]["fsGroup"].is_u64() {
        return Vec::new();
    }
    let private = |name: &Value| {
        let mut volumes = items(&pod["volumes"]).filter(|volume| volume["name"] == *name);
        volumes.any(|volume| {
            ["secret", "configMap", "projected"].into_iter().any(|kind| {
                let entries = items(&volume[kind]["items"]).map(|item| &item["mode"]);
                let mut modes = entries.chain([&volume[kind]["defaultMode"]]);
                modes.any(|mode| mode.as_u64().is_some_and(|mode| mode & 0o004 == 0))
            })
        })
    };
    items(&container["volumeMounts"])
        .filter(|mount| private(&mount["name"]))
        .map(|mount| format!("cannot read {} as {user:?}", mount["mountPath"]))
        .collect()
}
