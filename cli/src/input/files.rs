//! Objects of files: what `kubectl get -o yaml` prints, manifests, dumps of clusters.
//!
//! An object is known by `apiVersion` and `kind`, whatever its file is called. Secrets are dropped while reading.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use k8s_openapi::jiff::Timestamp;
use metallb_api::names;
use metallb_inspect::SCHEMA;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ask::{Asked, Heard};
use crate::facts::{Facts, Read, Source};

/// A file as it is.
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What objects are called by: group, kind, namespace, name.
type Name = (String, String, String, String);

/// The objects of all files.
#[derive(Default)]
pub(crate) struct Objects {
    files: usize,
    /// The newest time that any of them tells.
    pub(crate) newest: Option<Timestamp>,
    all: BTreeMap<Name, Value>,
    /// What speakers have said, as a dump has it.
    asked: Asked,
}

/// Reads files, folders and archives, and standard input for `-`.
pub(crate) fn texts(paths: &[PathBuf]) -> Result<Vec<Text>> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
            texts.push(Text {
                name: "-".to_owned(),
                text,
            });
        } else {
            collect(path, &mut texts).with_context(|| format!("cannot read {}", path.display()))?;
        }
    }
    Ok(texts)
}

fn collect(path: &Path, texts: &mut Vec<Text>) -> Result<()> {
    if path.is_dir() {
        let entries: std::io::Result<Vec<_>> = std::fs::read_dir(path)?.collect();
        let mut paths: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        let readable = paths
            .iter()
            .filter(|path| path.is_dir() || holds_objects(&path.to_string_lossy()));
        return readable.into_iter().try_for_each(|path| collect(path, texts));
    }
    let name = path.to_string_lossy().into_owned();
    let bytes = std::fs::read(path)?;
    if name.ends_with(".tar") {
        return unpack(&name, bytes.as_slice(), texts);
    }
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        return unpack(&name, GzDecoder::new(bytes.as_slice()), texts);
    }
    let text = String::from_utf8(bytes).context("it is no UTF-8 text")?;
    texts.push(Text { name, text });
    Ok(())
}

/// Logs and metrics lie beside objects in dumps; in a folder only what may hold objects is looked at.
fn holds_objects(name: &str) -> bool {
    [".yaml", ".yml", ".json", ".tar", ".tar.gz", ".tgz"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn unpack(archive: &str, reader: impl std::io::Read, texts: &mut Vec<Text>) -> Result<()> {
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if entry.header().entry_type().is_file() && [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)) {
            let mut text = String::new();
            let name = format!("{archive}:{name}");
            entry
                .read_to_string(&mut text)
                .with_context(|| format!("{name} is no UTF-8 text"))?;
            texts.push(Text { name, text });
        }
    }
    Ok(())
}

/// Reads all objects of files.
pub(super) fn read(paths: &[PathBuf]) -> Result<Objects> {
    let mut objects = Objects::default();
    for Text { name, text } in texts(paths)? {
        objects.files += 1;
        let documents = documents(&text).with_context(|| format!("{name} is no YAML"))?;
        for document in documents {
            match document.get("schema").and_then(Value::as_str) {
                Some(SCHEMA) => objects.hear(&name, document),
                _ => objects.add(document),
            }
        }
    }
    if objects.all.is_empty() {
        bail!("there is no object of Kubernetes in the input");
    }
    Ok(objects)
}

/// The limits of the parser against texts that are made to grow, wide enough for the dump of a large cluster.
pub(crate) fn limits() -> serde_saphyr::Options {
    const MOST: usize = 100_000_000;
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: MOST,
            max_nodes: MOST,
            max_events: MOST,
            max_total_scalar_bytes: 1 << 30,
        },
    }
}

/// The documents of a text. JSON is YAML, too, but its own parser is quicker.
fn documents(text: &str) -> Result<Vec<Value>> {
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(vec![value]);
    }
    let all: Vec<Option<Value>> = serde_saphyr::from_multiple_with_options(text, limits())?;
    Ok(all.into_iter().flatten().collect())
}

impl Objects {
    /// Takes in the answer of a speaker. Its file is called after what was asked: `bgp-routes.json` holds `/bgp/routes`.
    fn hear(&mut self, file: &str, answer: Value) {
        let stem = file.rsplit(['/', ':']).next().unwrap_or_default();
        let path = format!("/{}", stem.trim_end_matches(".json").replace('-', "/"));
        let node = answer["node"].as_str().unwrap_or_default().to_owned();
        if answer["component"] != names::SPEAKER {
            return;
        }
        let at = answer["time"].as_str().and_then(|time| time.parse().ok());
        self.newest = self.newest.max(at);
        let said = self.asked.speakers.entry(node).or_insert_with(|| Ok(Heard::default()));
        if let Ok(heard) = said
            && let Err(error) = serde_json::from_value(answer).and_then(|answer| heard.take(&path, answer))
        {
            *said = Err(format!("{file} cannot be read: {error}"));
        }
    }

    fn add(&mut self, mut value: Value) {
        let text = |value: &Value, path: &str| {
            value
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (version, kind) = (text(&value, "/apiVersion"), text(&value, "/kind"));
        if version.is_empty() || kind.is_empty() {
            return;
        }
        if let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) {
            // Items of a typed list need not say what they are.
            let single = kind.strip_suffix("List").unwrap_or_default();
            for mut item in items {
                if let Some(item) = item.as_object_mut().filter(|_| !single.is_empty()) {
                    item.entry("apiVersion").or_insert_with(|| version.clone().into());
                    item.entry("kind").or_insert_with(|| single.into());
                }
                self.add(item);
            }
            return;
        }
        if kind == "Secret" {
            return;
        }
        self.newest = self.newest.max(newest(&value));
        let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
        let name = (
            group,
            kind,
            text(&value, "/metadata/namespace"),
            text(&value, "/metadata/name"),
        );
        let older = self
            .all
            .get(&name)
            .is_some_and(|known| revision(known) > revision(&value));
        if !older {
            self.all.insert(name, value);
        }
    }

    /// The objects of a kind.
    fn take<K: DeserializeOwned>(&self, group: &str, kind: &str) -> Read<K> {
        let named = self.all.iter().filter(|((own, of, ..), _)| own == group && of == kind);
        let mut list = Vec::new();
        for ((.., name), value) in named {
            match serde_json::from_value(newer(value)) {
                Ok(object) => list.push(object),
                Err(error) => return Read::Failed(format!("{kind} {name} cannot be read: {error}")),
            }
        }
        Read::Got(list)
    }

    /// The same of a kind of which every cluster has some: if there is none, somebody left them out.
    fn take_some<K: DeserializeOwned>(&self, group: &str, kind: &str) -> Read<K> {
        match self.take(group, kind) {
            Read::Got(list) if list.is_empty() => Read::NotGiven,
            read => read,
        }
    }
}

/// An object in the version that is read here.
pub(crate) fn newer(value: &Value) -> Value {
    use metallb_verdict::convert::{V1BETA1, V1BETA2, convert};
    let old = value["kind"] == "BGPPeer" && value["apiVersion"] == V1BETA1;
    let converted = old.then(|| convert(value, V1BETA2).ok()).flatten();
    converted.unwrap_or_else(|| value.clone())
}

fn revision(value: &Value) -> u64 {
    let text = value.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The newest time that an object tells of itself, by which ages are as they were then.
fn newest(value: &Value) -> Option<Timestamp> {
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array);
    let of_conditions = conditions
        .into_iter()
        .flatten()
        .flat_map(|condition| [condition.get("lastTransitionTime"), condition.get("lastHeartbeatTime")]);
    let others = ["/metadata/creationTimestamp", "/spec/renewTime", "/status/since"];
    let times = of_conditions.chain(others.map(|path| value.pointer(path)));
    times.flatten().filter_map(|time| time.as_str()?.parse().ok()).max()
}

/// Sorts objects by kind.
pub(super) fn facts(objects: Objects, now: Timestamp) -> Facts {
    const OURS: &str = "metallb.io";
    let all = objects;
    Facts {
        now,
        source: Source::Files(all.files),
        namespace: None,
        services: all.take("", "Service"),
        slices: all.take_some("discovery.k8s.io", "EndpointSlice"),
        nodes: all.take_some("", "Node"),
        namespaces: all.take_some("", "Namespace"),
        pods: all.take_some("", "Pod"),
        deployments: all.take_some("apps", "Deployment"),
        daemon_sets: all.take_some("apps", "DaemonSet"),
        pools: all.take(OURS, "IPAddressPool"),
        address_pools: all.take(OURS, "AddressPool"),
        l2_advertisements: all.take(OURS, "L2Advertisement"),
        bgp_advertisements: all.take(OURS, "BGPAdvertisement"),
        peers: all.take(OURS, "BGPPeer"),
        bfd_profiles: all.take(OURS, "BFDProfile"),
        communities: all.take(OURS, "Community"),
        session_states: all.take_some("frrk8s.metallb.io", "BGPSessionState"),
        bgp_statuses: all.take_some(OURS, "ServiceBGPStatus"),
        l2_statuses: all.take_some(OURS, "ServiceL2Status"),
        config_states: all.take_some(OURS, "ConfigurationState"),
        leases: all.take_some("coordination.k8s.io", "Lease"),
        asked: all.asked,
    }
}

#[cfg(test)]
mod tests;
