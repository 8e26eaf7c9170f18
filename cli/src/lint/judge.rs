//! From the texts of files to findings.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use metallb_config::{Backend, ObjectRef, Options, Parsed, Resources, Rule, View, Warning, parse};
use metallb_ipam::Service as Asking;
use metallb_verdict::{Kind, Operation, Problem, Request, Rules};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Finding;
use super::schema::Schemas;
use super::tree::{Node as YamlNode, Place, Tree, documents};
use crate::facts::Facts;
use crate::input::files::{Text, newer};
use crate::report::Severity;
use crate::table::meant;
use crate::world;

/// An annotation of objects: rules that they may break, with commas.
const SUPPRESS: &str = "lint.metallb.io/suppress";
pub(super) const GROUP: &str = "metallb.io";

/// What came of all files.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) findings: Vec<Finding>,
    /// Objects and rules that their annotations suppress.
    pub(super) suppressed: BTreeSet<(String, String)>,
    pub(super) objects: usize,
    pub(super) skipped: usize,
}

/// An object and where it is.
struct Object<'a> {
    file: &'a str,
    kind: String,
    name: String,
    tree: Tree,
}

impl Object<'_> {
    fn title(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    fn namespace(&self) -> &str {
        self.tree
            .get("metadata")
            .map(|meta| meta.text("namespace"))
            .unwrap_or_default()
    }

    fn finding(&self, at: Place, rule: &str, severity: Severity, text: String) -> Finding {
        Finding {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            rule: rule.to_owned(),
            severity,
            object: self.title(),
            text,
            suppressed: false,
        }
    }
}

/// Judges all files together, beside the objects of a cluster if there is one.
pub(super) fn judge(
    texts: &[Text],
    beside: Option<&Facts>,
    namespace: Option<&str>,
    backend: Option<Backend>,
) -> Result<Judged> {
    let mut judged = Judged::default();
    let mut objects: BTreeMap<(String, String, String), Object<'_>> = BTreeMap::new();
    for Text { name, text } in texts {
        let trees = match documents(text) {
            Ok(trees) => trees,
            Err(_) if text.contains("{{") => {
                bail!("{name} is a template: render it first, helm template … | kubectl metallb lint -")
            }
            Err(error) => {
                judged.findings.push(unread(name, &error));
                continue;
            }
        };
        for tree in trees {
            sort(name, tree, &mut objects, &mut judged);
        }
    }
    let objects: Vec<Object<'_>> = objects.into_values().collect();
    judged.objects = objects
        .iter()
        .filter(|object| !["Node", "Namespace"].contains(&object.kind.as_str()))
        .count();
    judged.skipped += objects.len() - judged.objects;
    let rules = rules(&objects, beside, namespace, backend)?;
    let resources = together(&objects, beside, &rules, &mut judged.findings);
    judged.findings.extend(parsed(&objects, &resources, &rules));
    objects
        .iter()
        .for_each(|object| suppressions(object, &mut judged.suppressed));
    judged.findings.sort();
    judged.findings.dedup();
    Ok(judged)
}

fn unread(name: &str, error: &serde_saphyr::Error) -> Finding {
    let at = error.location().as_ref().map(Place::from).unwrap_or_default();
    Finding {
        file: name.to_owned(),
        line: at.line,
        column: at.column,
        rule: "yaml".to_owned(),
        severity: Severity::Error,
        object: String::new(),
        text: error.to_string().lines().next().unwrap_or_default().to_owned(),
        suppressed: false,
    }
}

/// Takes in what is judged; of two objects of one name the later one counts, as it does for `kubectl apply`.
fn sort<'a>(
    file: &'a str,
    tree: Tree,
    objects: &mut BTreeMap<(String, String, String), Object<'a>>,
    judged: &mut Judged,
) {
    let (version, kind) = (tree.text("apiVersion").to_owned(), tree.text("kind").to_owned());
    if let (Some(YamlNode::List(items)), true) = (tree.get("items").map(|items| &items.node), kind.ends_with("List")) {
        items.iter().for_each(|item| sort(file, item.clone(), objects, judged));
        return;
    }
    let ours = version.starts_with(&format!("{GROUP}/")) && Kind::named(&kind).is_some();
    let theirs = version == "v1" && ["Service", "Node", "Namespace"].contains(&kind.as_str());
    if !ours && !theirs {
        judged.skipped += 1;
        return;
    }
    let name = tree
        .get("metadata")
        .map(|meta| meta.text("name"))
        .unwrap_or_default()
        .to_owned();
    let object = Object { file, kind, name, tree };
    if object.name.is_empty() {
        let text = "metadata.name: required value is missing".to_owned();
        judged
            .findings
            .push(object.finding(object.tree.at, "schema", Severity::Error, text));
    }
    let place = if object.kind == "Service" {
        object.namespace().to_owned()
    } else {
        String::new()
    };
    let called = (object.kind.clone(), place, object.name.clone());
    if let Some(first) = objects.remove(&called) {
        let text = format!(
            "is in {}:{}, too; the later one counts",
            object.file, object.tree.at.line
        );
        judged
            .findings
            .push(first.finding(first.tree.at, "duplicate", Severity::Warning, text));
    }
    objects.insert(called, object);
}

/// What verdicts depend on besides objects.
fn rules(
    objects: &[Object<'_>],
    beside: Option<&Facts>,
    namespace: Option<&str>,
    backend: Option<Backend>,
) -> Result<Rules> {
    let ours = objects.iter().filter(|object| Kind::named(&object.kind).is_some());
    let mut found: BTreeSet<&str> = ours.map(Object::namespace).filter(|own| !own.is_empty()).collect();
    let of_cluster = beside.map(|facts| world::namespace(facts, namespace)).transpose()?;
    let namespace = match (namespace.map(str::to_owned).or(of_cluster), found.len()) {
        (Some(namespace), _) => namespace,
        (None, 0 | 1) => found.pop_first().unwrap_or(world::USUAL_NAMESPACE).to_owned(),
        (None, _) if found.contains(world::USUAL_NAMESPACE) => world::USUAL_NAMESPACE.to_owned(),
        (None, _) => bail!("the objects are in several namespaces: name MetalLB's with --metallb-namespace"),
    };
    Ok(Rules {
        namespace,
        backend: backend.unwrap_or_default(),
        ..Rules::default()
    })
}

/// Checks every object by itself; those that can be read make up the configuration.
fn together(objects: &[Object<'_>], beside: Option<&Facts>, rules: &Rules, findings: &mut Vec<Finding>) -> Resources {
    let schemas = Schemas::get();
    let mut resources = beside
        .map(|facts| world::resources(facts, &rules.namespace))
        .unwrap_or_default();
    resources.namespace.clone_from(&rules.namespace);
    // Nobody reads them, so that nothing is said of who refers to one.
    resources.secrets.clear();
    for object in objects {
        let value = object.tree.value();
        let version = object
            .tree
            .text("apiVersion")
            .split_once('/')
            .map_or("", |(_, version)| version);
        if Kind::named(&object.kind).is_some() {
            let misfits = schemas.check(&object.kind, version, &object.tree);
            let unserved = misfits
                .is_none()
                .then(|| format!("there is no version {version} of this kind"));
            let unserved =
                unserved.map(|text| object.finding(object.tree.place("apiVersion"), "schema", Severity::Error, text));
            findings.extend(unserved);
            let misfits = misfits.into_iter().flatten();
            findings.extend(misfits.map(|misfit| object.finding(misfit.at, "schema", Severity::Error, misfit.text)));
            let namespace = Some(object.namespace())
                .filter(|own| !own.is_empty())
                .unwrap_or(&rules.namespace);
            if object.kind != "MetalLB"
                && let Err(problem) = rules.place(namespace)
            {
                findings.push(of_problem(object, &problem, Severity::Error));
                continue;
            }
        }
        let read = match object.kind.as_str() {
            "IPAddressPool" => put(&mut resources.pools, &value),
            "AddressPool" => put(&mut resources.address_pools, &value),
            "L2Advertisement" => put(&mut resources.l2_advertisements, &value),
            "BGPAdvertisement" => put(&mut resources.bgp_advertisements, &value),
            "BGPPeer" => put(&mut resources.peers, &newer(&value)),
            "BFDProfile" => put(&mut resources.bfd_profiles, &value),
            "Community" => put(&mut resources.communities, &value),
            "Node" => put::<Node>(&mut resources.nodes, &value),
            "Namespace" => put::<Namespace>(&mut resources.namespaces, &value),
            "Service" => service(object, &value, findings),
            _ => {
                metallb(object, value, rules, findings);
                Ok(())
            }
        };
        // What cannot be read breaks the schema, too, and that says where.
        if let Err(error) = read
            && !findings
                .iter()
                .any(|known| known.rule == "schema" && known.object == object.title())
        {
            findings.push(object.finding(
                object.tree.at,
                "schema",
                Severity::Error,
                format!("cannot be read: {error}"),
            ));
        }
    }
    keep_last(&mut resources.pools);
    keep_last(&mut resources.address_pools);
    keep_last(&mut resources.l2_advertisements);
    keep_last(&mut resources.bgp_advertisements);
    keep_last(&mut resources.peers);
    keep_last(&mut resources.bfd_profiles);
    keep_last(&mut resources.communities);
    keep_last(&mut resources.nodes);
    keep_last(&mut resources.namespaces);
    resources
}

fn put<K: DeserializeOwned>(list: &mut Vec<K>, value: &Value) -> serde_json::Result<()> {
    list.push(serde_json::from_value(value.clone())?);
    Ok(())
}

/// Of two objects of one name the later one counts: that of a file takes the place of the cluster's.
fn keep_last<K: kube::ResourceExt>(list: &mut Vec<K>) {
    let mut seen = BTreeSet::new();
    list.reverse();
    list.retain(|object| seen.insert(object.name_any()));
    list.reverse();
}

/// Checks that it is understood what a Service asks for.
fn service(object: &Object<'_>, value: &Value, findings: &mut Vec<Finding>) -> serde_json::Result<()> {
    let service: Service = serde_json::from_value(value.clone())?;
    let asking = Asking::from(&service);
    if let Err(error) = asking.wanted() {
        let at = object.tree.place("metadata.annotations");
        findings.push(object.finding(at, "service", Severity::Error, error.to_string()));
    }
    for key in asking.deprecated_annotations() {
        let text = format!("the annotation {key} is deprecated: its prefix is metallb.io/ now");
        findings.push(object.finding(
            object.tree.place("metadata.annotations"),
            "service",
            Severity::Warning,
            text,
        ));
    }
    Ok(())
}

fn metallb(object: &Object<'_>, value: Value, rules: &Rules, findings: &mut Vec<Finding>) {
    let request = Request {
        kind: Kind::MetalLb,
        operation: Operation::Create,
        namespace: Some(rules.namespace.clone()),
        object: value,
        old: Value::Null,
    };
    let verdict = metallb_verdict::judge(&request, &Resources::default(), rules);
    if verdict.undecodable {
        // The schema has said so.
        return;
    }
    findings.extend(
        verdict
            .errors
            .iter()
            .map(|problem| of_problem(object, problem, Severity::Error)),
    );
    findings.extend(
        verdict
            .warnings
            .iter()
            .map(|problem| of_problem(object, problem, Severity::Warning)),
    );
}

fn of_problem(object: &Object<'_>, problem: &Problem, severity: Severity) -> Finding {
    let rule = problem.rule.map_or("schema", Rule::id);
    object.finding(object.tree.place(&problem.field), rule, severity, problem.to_string())
}

/// What the parser says of all of them.
fn parsed(objects: &[Object<'_>], resources: &Resources, rules: &Rules) -> Vec<Finding> {
    let parsed = parse(
        resources,
        &Options {
            view: View::Admission,
            ..rules.options()
        },
    );
    let of: BTreeMap<(&str, &str), &Object<'_>> = objects
        .iter()
        .map(|object| ((object.kind.as_str(), object.name.as_str()), object))
        .collect();
    let find = |named: &ObjectRef| of.get(&(named.kind.as_str(), named.name.as_str())).copied();
    let mut findings = Vec::new();
    for refused in &parsed.refused {
        // Of two that exclude each other the cluster's may be the one that is refused: it is the file that is judged.
        let Some(object) = find(&refused.object).or_else(|| refused.involves.iter().find_map(find)) else {
            continue;
        };
        let at = if find(&refused.object).is_some() {
            object.tree.place(&refused.field)
        } else {
            object.tree.place("spec")
        };
        let others: Vec<String> = refused
            .involves
            .iter()
            .filter_map(|other| {
                let other = find(other).filter(|other| other.title() != object.title())?;
                Some(format!("{} is in {}:{}", other.title(), other.file, other.tree.at.line))
            })
            .collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!("; {}", others.join(", "))
        };
        let text = format!("{}: {}{others}", refused.field, refused.reason);
        findings.push(object.finding(at, refused.rule.id(), Severity::Error, text));
    }
    for warning in &parsed.warnings {
        if let Some(object) = find(&warning.object) {
            let hint = hint(&parsed, warning);
            let text = format!("{}: {}{hint}", warning.field, warning.reason);
            findings.push(object.finding(
                object.tree.place(&warning.field),
                warning.rule.id(),
                Severity::Warning,
                text,
            ));
        }
    }
    findings
}

/// Which pool or peer is meant by a name that leads nowhere.
fn hint(parsed: &Parsed, warning: &Warning) -> String {
    let named = warning.reason.split('"').nth(1).filter(|_| warning.rule == Rule::W12);
    let pools = parsed.config.pools.keys().filter(|_| warning.field.contains("Pools"));
    let peers = parsed.config.peers.keys().filter(|_| warning.field.contains("peers"));
    let meant = named.and_then(|named| meant(named, pools.chain(peers).map(String::as_str)));
    meant.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

fn suppressions(object: &Object<'_>, suppressed: &mut BTreeSet<(String, String)>) {
    let annotations = object.tree.get("metadata").and_then(|meta| meta.get("annotations"));
    let rules = annotations
        .map(|annotations| annotations.text(SUPPRESS))
        .unwrap_or_default();
    suppressed.extend(rules.split(',').map(|rule| (object.title(), rule.trim().to_owned())));
}
