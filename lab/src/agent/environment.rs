//! Environment and arguments of a container, with the downward API.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret};
use kube::runtime::reflector::{ObjectRef, Store};

use crate::cluster::Cluster;

/// What the downward API tells of a pod besides the pod itself.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub node: String,
    pub host_ip: String,
    pub pod_ip: String,
    pub api: SocketAddr,
}

/// The environment of `container`, or the name of what must exist first.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    place: &Place,
    cluster: &Cluster,
) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::from([
        (
            "PATH".into(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        ),
        ("HOSTNAME".into(), pod.metadata.name.clone().unwrap_or_default()),
        ("KUBERNETES_SERVICE_HOST".into(), place.api.ip().to_string()),
        ("KUBERNETES_SERVICE_PORT".into(), place.api.port().to_string()),
    ]);
    let source = Source { pod, place, cluster };
    for list in container.env_from.iter().flatten() {
        source.whole(list, &mut all)?;
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = source.value(variable, &all)? {
            all.insert(variable.name.clone(), value);
        }
    }
    Ok(all)
}

/// Replaces `$(NAME)` by the variable, as the kubelet does in `command` and `args`; `$$` is a dollar.
pub(crate) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

struct Source<'a> {
    pod: &'a Pod,
    place: &'a Place,
    cluster: &'a Cluster,
}

impl Source<'_> {
    fn value(&self, variable: &EnvVar, before: &BTreeMap<String, String>) -> Result<Option<String>, String> {
        match &variable.value_from {
            None => Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), before))),
            Some(from) => self.value_from(from),
        }
    }

    fn value_from(&self, from: &EnvVarSource) -> Result<Option<String>, String> {
        if let Some(field) = &from.field_ref {
            return Ok(Some(field_value(self.pod, self.place, &field.field_path)));
        }
        if let Some(key) = &from.secret_key_ref {
            let value = self.secret(&key.name).and_then(|secret| secret.data?.remove(&key.key));
            let value = value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
            return required(value, key.optional, &format!("key {} of Secret {}", key.key, key.name));
        }
        if let Some(key) = &from.config_map_key_ref {
            let value = self.config_map(&key.name).and_then(|map| map.data?.remove(&key.key));
            return required(
                value,
                key.optional,
                &format!("key {} of ConfigMap {}", key.key, key.name),
            );
        }
        Ok(None)
    }

    fn whole(
        &self,
        list: &k8s_openapi::api::core::v1::EnvFromSource,
        all: &mut BTreeMap<String, String>,
    ) -> Result<(), String> {
        let prefix = list.prefix.as_deref().unwrap_or_default();
        if let Some(source) = &list.config_map_ref {
            let map = required(
                self.config_map(&source.name),
                source.optional,
                &format!("ConfigMap {}", source.name),
            )?;
            let data = map.and_then(|map| map.data).unwrap_or_default();
            all.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
        }
        if let Some(source) = &list.secret_ref {
            let secret = required(
                self.secret(&source.name),
                source.optional,
                &format!("Secret {}", source.name),
            )?;
            let data = secret.and_then(|secret| secret.data).unwrap_or_default();
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            all.extend(
                data.into_iter()
                    .map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))),
            );
        }
        Ok(())
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        find(&self.cluster.secrets, self.pod, name)
    }

    fn config_map(&self, name: &str) -> Option<ConfigMap> {
        find(&self.cluster.config_maps, self.pod, name)
    }
}

/// An object that the pod refers to by name.
pub(crate) fn find<K>(store: &Store<K>, pod: &Pod, name: &str) -> Option<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    store
        .get(&ObjectRef::new(name).within(namespace))
        .map(|found| (*found).clone())
}

fn required<T>(value: Option<T>, optional: Option<bool>, what: &str) -> Result<Option<T>, String> {
    match value {
        None if optional != Some(true) => Err(format!("{what} does not exist")),
        value => Ok(value),
    }
}

/// The value of a `fieldRef`.
pub(crate) fn field_value(pod: &Pod, place: &Place, path: &str) -> String {
    let meta = &pod.metadata;
    let known = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "spec.nodeName" => Some(place.node.clone()),
        "spec.serviceAccountName" => pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" | "status.hostIPs" => Some(place.host_ip.clone()),
        "status.podIP" | "status.podIPs" => Some(place.pod_ip.clone()),
        _ => keyed(path, "metadata.labels", meta.labels.as_ref())
            .or_else(|| keyed(path, "metadata.annotations", meta.annotations.as_ref())),
    };
    known.unwrap_or_default()
}

/// `metadata.labels['key']`
fn keyed(path: &str, field: &str, map: Option<&BTreeMap<String, String>>) -> Option<String> {
    let key = path.strip_prefix(field)?.strip_prefix("['")?.strip_suffix("']")?;
    map?.get(key).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_see_the_environment_as_under_a_kubelet() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(expand("x=$(A) $$(A) $(B) $5", &variables), "x=1 $(A) $(B) $5");
    }

    #[test]
    fn labels_are_reached_by_key() {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        assert_eq!(
            keyed("metadata.labels['app']", "metadata.labels", Some(&labels)).as_deref(),
            Some("web")
        );
    }
}
