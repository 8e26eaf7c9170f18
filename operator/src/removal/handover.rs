//! Where speakers hand their routes to an frr-k8s, which goes on announcing them when the speakers are gone.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::PodSpec};
use kube::{Api, Client};
use metallb_api::{MetalLB, names};
use metallb_manifests::Object;
use tracing::warn;

use crate::status::failure::Error;

const BGP_TYPE: &str = "METALLB_BGP_TYPE";
const FRR_K8S: &str = "frr-k8s";
const FLAG: &str = "frrk8s-namespace";
const VARIABLE: &str = "FRRK8S_NAMESPACE";

/// Tells the namespace that a speaker writes its FRRConfiguration to; none if it writes none.
///
/// `own` is the namespace of the speaker, which counts unless it was told another one.
pub(crate) fn target(speaker: &PodSpec, own: &str) -> Option<String> {
    let container = speaker.containers.iter().find(|it| it.name == names::SPEAKER)?;
    let variable = |name: &str| {
        let found = container.env.iter().flatten().find(|variable| variable.name == name);
        found.and_then(|variable| variable.value.as_deref())
    };
    if variable(BGP_TYPE) != Some(FRR_K8S) {
        return None;
    }
    let arguments = container.command.iter().chain(&container.args).flatten();
    let told = flag(arguments.map(String::as_str)).or_else(|| variable(VARIABLE));
    Some(told.filter(|told| !told.is_empty()).unwrap_or(own).to_owned())
}

/// The value of the flag, with one dash or two, after `=` or as the next argument; the last one counts.
fn flag<'a>(arguments: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (mut value, mut is_next) = (None, false);
    for argument in arguments {
        if is_next {
            value = Some(argument);
        }
        let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        let rest = name.and_then(|name| name.strip_prefix(FLAG)).filter(|_| !is_next);
        is_next = rest == Some("");
        value = rest.and_then(|rest| rest.strip_prefix('=')).or(value);
    }
    value
}

/// Tells the same of the speakers that a plan deploys.
pub(crate) fn planned(objects: &[Object], own: &str) -> Option<String> {
    let sets = objects.iter().filter_map(|object| match object {
        Object::DaemonSet(set) => Some(set),
        _ => None,
    });
    sets.filter_map(|set| of_set(set, own)).next()
}

/// Tells the same of the speakers that are deployed, whoever did that.
pub(crate) async fn deployed(client: &Client, own: &str) -> Result<Option<String>, Error> {
    let api: Api<DaemonSet> = Api::namespaced(client.clone(), own);
    match api.get_opt(names::SPEAKER).await {
        Ok(set) => Ok(set.and_then(|set| of_set(&set, own))),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            warn!(event = "speakersUnknown", error = status.message);
            Ok(None)
        }
        Err(error) => Err(Error::api("get", "DaemonSet/speaker", error)),
    }
}

fn of_set(set: &DaemonSet, own: &str) -> Option<String> {
    let spec = set.spec.as_ref()?.template.spec.as_ref()?;
    let is_speaker = set.metadata.name.as_deref() == Some(names::SPEAKER);
    target(spec, own).filter(|_| is_speaker)
}

/// Lists the namespaces that the status remembers.
pub(crate) fn remembered(resource: Option<&MetalLB>) -> BTreeSet<String> {
    let status = resource.and_then(|resource| resource.status.as_ref());
    status
        .map(|status| status.frrk8s_namespaces.iter().cloned().collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn speaker(args: &[&str], env: &Value) -> PodSpec {
        let container = json!({ "name": "speaker", "args": args, "env": env });
        serde_json::from_value(json!({ "containers": [{ "name": "frr" }, container] })).unwrap()
    }

    // OP-24
    #[test]
    fn a_speaker_writes_where_it_is_told_to() {
        let variable = json!({ "name": "FRRK8S_NAMESPACE", "value": "v" });
        let cases: [(&[&str], Option<&Value>, &str); 9] = [
            (&["--port=1"], None, "own"),
            (&["--frrk8s-namespace=a"], None, "a"),
            (&["--frrk8s-namespace", "a", "--port=1"], None, "a"),
            (&["-frrk8s-namespace=a"], None, "a"),
            (&["--frrk8s-namespace=a", "--frrk8s-namespace=b"], None, "b"),
            (&["--frrk8s-namespace="], None, "own"),
            (&["--frrk8s-namespace-x=a"], None, "own"),
            (&[], Some(&variable), "v"),
            (&["--frrk8s-namespace=a"], Some(&variable), "a"),
        ];
        for (args, variable, expected) in cases {
            let mut env = vec![json!({ "name": "METALLB_BGP_TYPE", "value": "frr-k8s" })];
            env.extend(variable.cloned());
            assert_eq!(
                target(&speaker(args, &json!(env)), "own").as_deref(),
                Some(expected),
                "{args:?}"
            );
        }
    }

    // OP-24
    #[test]
    fn a_speaker_of_another_back_end_writes_nowhere() {
        for env in [json!([]), json!([{ "name": "METALLB_BGP_TYPE", "value": "frr" }])] {
            assert_eq!(target(&speaker(&["--frrk8s-namespace=a"], &env), "own"), None);
        }
    }
}
