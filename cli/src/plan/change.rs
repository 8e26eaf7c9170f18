//! From files to changed objects: one after the other, as `kubectl apply` does it, each judged as admission would.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use metallb_config::{Resources, Rule};
use metallb_ipam::Key;
use metallb_verdict::{Kind, Operation, Request, Rules, judge};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::controller::Controller;
use crate::input::files::newer;
use crate::lint::with_defaults;
use crate::world::secrets;

/// An object as it is to be; without a value it is to be gone.
pub(super) struct Wish {
    pub(super) kind: String,
    /// Empty for kinds that have none.
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) value: Option<Value>,
    /// What its schema says against it.
    pub(super) misfits: Vec<String>,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Effect {
    Created,
    Changed,
    Deleted,
    Refused,
}

/// An object that is not as it was, or was to be.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object {
    pub(super) object: String,
    pub(super) effect: Effect,
    pub(super) fields: Vec<Field>,
    /// Of `docs/validation.md`, or `schema`, if it is refused.
    pub(super) rule: Option<&'static str>,
    pub(super) text: Option<String>,
}

/// A field with what it was and what it is; null if there is none.
#[derive(JsonSchema, Serialize)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) before: Value,
    pub(super) after: Value,
}

/// Calls a function for the list of a kind.
macro_rules! with_list {
    ($resources:expr, $kind:expr, $call:ident($($argument:expr),*)) => {
        match $kind {
            "IPAddressPool" => $call(&mut $resources.pools, $($argument),*),
            "AddressPool" => $call(&mut $resources.address_pools, $($argument),*),
            "L2Advertisement" => $call(&mut $resources.l2_advertisements, $($argument),*),
            "BGPAdvertisement" => $call(&mut $resources.bgp_advertisements, $($argument),*),
            "BGPPeer" => $call(&mut $resources.peers, $($argument),*),
            "BFDProfile" => $call(&mut $resources.bfd_profiles, $($argument),*),
            "Community" => $call(&mut $resources.communities, $($argument),*),
            "Node" => $call(&mut $resources.nodes, $($argument),*),
            _ => $call(&mut $resources.namespaces, $($argument),*),
        }
    };
}

impl Wish {
    /// Reads an object of a file; none if its kind is nothing to a plan.
    pub(super) fn read(value: &Value, misfits: Vec<String>, namespaces: [&str; 2]) -> Result<Option<Self>> {
        let text = |path: &str| {
            value
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let group = version.split_once('/').map_or("", |(group, _)| group);
        if !kinds().any(|(own, known)| own == group && known == kind) {
            return Ok(None);
        }
        if name.is_empty() {
            bail!("{kind}: metadata.name is missing");
        }
        let namespace = place(&kind, &text("/metadata/namespace"), namespaces);
        let value = Some(newer(value));
        Ok(Some(Self {
            kind,
            namespace,
            name,
            value,
            misfits,
        }))
    }

    /// Reads `KIND/[NAMESPACE/]NAME` of what is to be deleted.
    pub(super) fn deletion(text: &str, namespaces: [&str; 2]) -> Result<Self> {
        let (kind, name) = text.split_once('/').context("KIND/NAME is expected")?;
        let mut all = kinds();
        let (_, kind) = all
            .find(|(_, known)| known.eq_ignore_ascii_case(kind))
            .filter(|(_, kind)| *kind != "Namespace")
            .with_context(|| format!("a plan can delete no {kind}"))?;
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        Ok(Self {
            kind: kind.to_owned(),
            namespace: place(kind, namespace, namespaces),
            name: name.to_owned(),
            value: None,
            misfits: Vec::new(),
        })
    }

    pub(super) fn title(&self) -> String {
        match self.kind.as_str() {
            "Service" => format!("Service {}/{}", self.namespace, self.name),
            kind => format!("{kind} {}", self.name),
        }
    }
}

/// Groups and kinds that a plan can change.
fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    let ours = Kind::ALL.into_iter().filter(|kind| *kind != Kind::MetalLb);
    let theirs = ["Service", "Node", "Namespace"];
    ours.map(|kind| ("metallb.io", kind.as_str()))
        .chain(theirs.map(|kind| ("", kind)))
}

/// The namespace of an object; of the two given ones the first is MetalLB's, the second that of Services.
fn place(kind: &str, told: &str, [metallb, services]: [&str; 2]) -> String {
    match kind {
        "Node" | "Namespace" => String::new(),
        _ if !told.is_empty() => told.to_owned(),
        "Service" => services.to_owned(),
        _ => metallb.to_owned(),
    }
}

/// The cluster, which takes changes in.
pub(super) struct State<'a> {
    pub(super) resources: Resources,
    pub(super) controller: Controller,
    pub(super) rules: &'a Rules,
}

impl State<'_> {
    /// Takes in all changes in their order. What is refused is tried again after the others, as those do that apply files
    /// until all is well.
    pub(super) fn change(&mut self, mut wishes: Vec<Wish>) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        loop {
            let (mut refused, before) = (Vec::new(), wishes.len());
            for wish in wishes {
                match self.take(&wish).with_context(|| wish.title())? {
                    Some(object) if object.effect == Effect::Refused => refused.push((wish, object)),
                    object => objects.extend(object),
                }
            }
            if refused.len() == before || refused.is_empty() {
                objects.extend(refused.into_iter().map(|(_, object)| object));
                return Ok(objects);
            }
            wishes = refused.into_iter().map(|(wish, _)| wish).collect();
        }
    }

    /// Takes in one change; says nothing of one that changes nothing.
    fn take(&mut self, wish: &Wish) -> Result<Option<Object>> {
        let refused = |rule, text| {
            Ok(Some(Object {
                object: wish.title(),
                effect: Effect::Refused,
                fields: Vec::new(),
                rule: Some(rule),
                text: Some(text),
            }))
        };
        let old = with_defaults(self.get(wish)?);
        let new = match &wish.value {
            Some(file) => with_defaults(self.merged(wish, &old, file)),
            None if old.is_null() => bail!("there is none"),
            None => Value::Null,
        };
        if !wish.misfits.is_empty() {
            return refused("schema", wish.misfits.join("; "));
        }
        let effect = match (old.is_null(), new.is_null()) {
            (_, true) => Effect::Deleted,
            (true, false) => Effect::Created,
            (false, false) => Effect::Changed,
        };
        if let Some(kind) = Kind::named(&wish.kind) {
            let request = Request {
                kind,
                operation: match effect {
                    Effect::Created => Operation::Create,
                    Effect::Deleted => Operation::Delete,
                    _ => Operation::Update,
                },
                namespace: Some(wish.namespace.clone()),
                object: new.clone(),
                old: old.clone(),
            };
            let verdict = judge(&request, &self.resources, self.rules);
            if let Some(first) = verdict.errors.first() {
                return refused(first.rule.map_or("schema", Rule::id), verdict.message());
            }
        }
        let new = self.set(wish, &new)?;
        let mut fields = Vec::new();
        for part in ["/metadata/labels", "/metadata/annotations", "/spec"] {
            let of = |value: &Value| value.pointer(part).cloned().unwrap_or_default();
            compare(&part[1..].replace('/', "."), &of(&old), &of(&new), &mut fields);
        }
        if effect == Effect::Changed && fields.is_empty() {
            return Ok(None);
        }
        match wish.kind.as_str() {
            "Service" => {
                let service = serde_json::from_value(new).context("cannot be read")?;
                self.controller.change(&Key::new(&wish.namespace, &wish.name), service);
            }
            "Node" => {}
            kind => {
                if kind == "BGPPeer" {
                    self.resources.secrets = secrets(&self.resources.peers, &self.rules.namespace);
                }
                self.controller.configure(&self.resources);
            }
        }
        Ok(Some(Object {
            object: wish.title(),
            effect,
            fields: if effect == Effect::Changed { fields } else { Vec::new() },
            rule: None,
            text: None,
        }))
    }

    /// The object as it is; null if there is none.
    fn get(&mut self, wish: &Wish) -> Result<Value> {
        if wish.kind == "Service" {
            let own = self.controller.services.get(&Key::new(&wish.namespace, &wish.name));
            return Ok(serde_json::to_value(own.map(AsRef::as_ref))?);
        }
        with_list!(self.resources, wish.kind.as_str(), get(wish))
    }

    /// Puts an object in its place, and returns it with the defaults of its kind. Services are the controller's.
    fn set(&mut self, wish: &Wish, new: &Value) -> Result<Value> {
        if wish.kind == "Service" {
            let service: Option<Service> = serde_json::from_value(new.clone()).context("cannot be read")?;
            return Ok(serde_json::to_value(service)?);
        }
        with_list!(self.resources, wish.kind.as_str(), set(wish, new))
    }

    /// What the API server makes of a file and of the object that is there: its labels and annotations stay beside those of
    /// the file, and so does what others write. Our kinds take the whole `spec` of the file.
    fn merged(&self, wish: &Wish, old: &Value, file: &Value) -> Value {
        let mut new = file.clone();
        let mut metadata = old.get("metadata").cloned().unwrap_or_else(|| json!({}));
        metadata["name"] = wish.name.clone().into();
        if !wish.namespace.is_empty() {
            metadata["namespace"] = wish.namespace.clone().into();
        }
        for part in ["labels", "annotations"] {
            if let Some(own) = file.pointer(&format!("/metadata/{part}")) {
                metadata[part] = over(&metadata[part], own);
            }
        }
        new["metadata"] = metadata;
        match old.get("status") {
            Some(status) => new["status"] = status.clone(),
            None => drop(new.as_object_mut().and_then(|new| new.remove("status"))),
        }
        if Kind::named(&wish.kind).is_none() {
            new["spec"] = over(&old["spec"], &file["spec"]);
        }
        for port in new
            .pointer_mut("/spec/ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            *port = as_kept(port, &old["spec"]["ports"]);
        }
        if wish.kind == "Service" && old.is_null() {
            self.with_cluster_addresses(&mut new["spec"]);
        }
        new
    }

    /// A new Service is given addresses inside the cluster, of the families that it asks for, or of those of the others.
    fn with_cluster_addresses(&self, spec: &mut Value) {
        let mut addresses = self
            .controller
            .services
            .values()
            .filter_map(|own| own.spec.as_ref()?.cluster_ips.as_ref());
        let usual = addresses.find_map(|ips| ips.first()).is_some_and(|ip| ip.contains(':'));
        let asked = spec.get("ipFamilies").and_then(Value::as_array);
        let first = asked
            .and_then(|all| all.first())
            .map_or(usual, |family| family == "IPv6");
        let both = spec
            .get("ipFamilyPolicy")
            .is_some_and(|policy| policy == "RequireDualStack")
            || asked.is_some_and(|all| all.len() > 1);
        // Any will do: nothing but their families counts.
        let of = |six: bool| if six { "fd00::1" } else { "10.0.0.1" };
        let all = if both {
            vec![of(first), of(!first)]
        } else {
            vec![of(first)]
        };
        let families: Vec<&str> = all
            .iter()
            .map(|ip| if ip.contains(':') { "IPv6" } else { "IPv4" })
            .collect();
        if spec.is_object() && spec.get("clusterIPs").is_none() && spec.get("clusterIP").is_none() {
            (spec["ipFamilies"], spec["clusterIPs"]) = (json!(families), json!(all));
        }
    }
}

fn is<K: ResourceExt>(wish: &Wish, own: &K) -> bool {
    let meta = own.meta();
    meta.name.as_deref() == Some(&wish.name) && meta.namespace.as_ref().is_none_or(|own| *own == wish.namespace)
}

fn get<K: ResourceExt + Serialize>(list: &mut [K], wish: &Wish) -> Result<Value> {
    Ok(serde_json::to_value(list.iter().find(|own| is(wish, *own)))?)
}

fn set<K: ResourceExt + Serialize + DeserializeOwned>(list: &mut Vec<K>, wish: &Wish, new: &Value) -> Result<Value> {
    let new: Option<K> = serde_json::from_value(new.clone()).context("cannot be read")?;
    let value = serde_json::to_value(&new)?;
    match (list.iter().position(|own| is(wish, own)), new) {
        (Some(at), Some(new)) => list[at] = new,
        (Some(at), None) => drop(list.remove(at)),
        (None, new) => list.extend(new),
    }
    Ok(value)
}

/// A port with what the API server has filled in.
fn as_kept(port: &Value, before: &Value) -> Value {
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    let same = |own: &&Value| own["port"] == port["port"] && protocol(own) == protocol(port);
    let kept = before.as_array().and_then(|all| all.iter().find(same));
    kept.map_or_else(|| port.clone(), |kept| over(kept, port))
}

/// The members of both, where the second one wins.
fn over(under: &Value, over: &Value) -> Value {
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut all: Map<String, Value> = members(under);
    all.extend(members(over));
    Value::Object(all)
}

/// kubectl keeps the whole object in it, passwords and all.
const LAST_APPLIED: &str = ".kubectl.kubernetes.io/last-applied-configuration";

/// Lists the fields that differ; lists are one field. Passwords are not shown.
fn compare(path: &str, before: &Value, after: &Value, fields: &mut Vec<Field>) {
    let none = Map::new();
    let (old, new) = match (before, after) {
        (Value::Object(old), Value::Object(new)) => (old, new),
        (Value::Null, Value::Object(new)) => (&none, new),
        (Value::Object(old), Value::Null) => (old, &none),
        _ => {
            if before != after && !path.ends_with(LAST_APPLIED) {
                let hidden = |value: &Value| path.ends_with(".password") && !value.is_null();
                let shown = |value: &Value| {
                    if hidden(value) {
                        "(hidden)".into()
                    } else {
                        value.clone()
                    }
                };
                let (path, before, after) = (path.to_owned(), shown(before), shown(after));
                fields.push(Field { path, before, after });
            }
            return;
        }
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let of = |value: &Map<String, Value>| value.get(name).cloned().unwrap_or_default();
        compare(&format!("{path}.{name}"), &of(old), &of(new), fields);
    }
}
