//! What the API server refuses by the schema of a CustomResourceDefinition, without its CEL rules: the parser and the
//! webhooks repeat those.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::tree::{Member, Node, Place, Tree};
use crate::table::meant;

/// The schemas of our kinds, by kind and version.
pub(super) struct Schemas {
    all: BTreeMap<(String, String), Value>,
    /// Compiled once: a pattern is asked for each of its values.
    patterns: BTreeMap<String, Regex>,
}

/// Something that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) at: Place,
    pub(super) text: String,
}

/// Made once.
static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::new);

impl Schemas {
    pub(super) fn get() -> &'static Self {
        &SCHEMAS
    }

    fn new() -> Self {
        let mut all = BTreeMap::new();
        for crd in metallb_crdgen::crds() {
            for version in &crd.spec.versions {
                let schema = version
                    .schema
                    .as_ref()
                    .and_then(|schema| schema.open_api_v3_schema.as_ref());
                let schema = serde_json::to_value(schema).unwrap_or_default();
                all.insert((crd.spec.names.kind.clone(), version.name.clone()), schema);
            }
        }
        let mut patterns = BTreeMap::new();
        all.values().for_each(|schema| compile(schema, &mut patterns));
        Self { all, patterns }
    }

    /// The schema of a kind in a version.
    pub(super) fn of(&self, kind: &str, version: &str) -> Option<&Value> {
        self.all.get(&(kind.to_owned(), version.to_owned()))
    }

    /// Everything about an object that its schema does not allow; none if the kind has no such version.
    pub(super) fn check(&self, kind: &str, version: &str, object: &Tree) -> Option<Vec<Misfit>> {
        let schema = self.of(kind, version)?;
        let mut check = Check {
            patterns: &self.patterns,
            misfits: Vec::new(),
        };
        check.required(object, schema, "");
        for member in object.members() {
            if !["apiVersion", "kind", "metadata"].contains(&member.name.as_str()) {
                check.named(member, schema, "");
            }
        }
        Some(check.misfits)
    }
}

/// Puts defaults where there is nothing.
pub(super) fn fill(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(members) => {
            for (name, own) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = own.get("default") {
                    members.entry(name).or_insert_with(|| default.clone());
                }
                members.get_mut(name).into_iter().for_each(|inner| fill(inner, own));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, &schema["items"])),
        _ => {}
    }
}

fn compile(schema: &Value, patterns: &mut BTreeMap<String, Regex>) {
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && let Ok(compiled) = Regex::new(pattern)
    {
        patterns.insert(pattern.to_owned(), compiled);
    }
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(_, own)| own);
    let inner = properties
        .chain(schema.get("items"))
        .chain(schema.get("additionalProperties"));
    inner.for_each(|schema| compile(schema, patterns));
}

/// One look at one object.
struct Check<'a> {
    patterns: &'a BTreeMap<String, Regex>,
    misfits: Vec<Misfit>,
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl Check<'_> {
    /// A member of an object.
    fn named(&mut self, member: &Member, schema: &Value, path: &str) {
        let path = join(path, &member.name);
        let property = schema
            .get("properties")
            .and_then(|properties| properties.get(&member.name));
        let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
        match property.or_else(|| {
            schema
                .get("additionalProperties")
                .filter(|all| **all != Value::Bool(false))
        }) {
            Some(schema) => self.check(&member.tree, schema, &path),
            None if open => {}
            None => {
                let names = schema["properties"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.as_str());
                let meant = meant(&member.name, names).map(|name| format!(" (did you mean {name}?)"));
                let at = if member.at.line > 0 { member.at } else { member.tree.at };
                let text = format!("unknown field \"{path}\"{}", meant.unwrap_or_default());
                self.misfits.push(Misfit { at, text });
            }
        }
    }

    fn required(&mut self, tree: &Tree, schema: &Value, path: &str) {
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if tree.get(name).is_none() {
                self.misfits.push(Misfit {
                    at: tree.at,
                    text: format!("{}: required value is missing", join(path, name)),
                });
            }
        }
    }

    fn check(&mut self, tree: &Tree, schema: &Value, path: &str) {
        let wanted = schema["type"].as_str().unwrap_or_default();
        match (&tree.node, wanted) {
            // The API server takes a null for an absent value.
            (Node::Scalar(Value::Null), _) | (_, "") => {}
            (Node::Map(members), "object") => {
                self.required(tree, schema, path);
                members.iter().for_each(|member| self.named(member, schema, path));
            }
            (Node::List(list), "array") => {
                let count = list.len() as u64;
                if schema["minItems"].as_u64().is_some_and(|least| count < least) {
                    self.misfit(
                        tree,
                        path,
                        &format!("has {count} items, {} are the least", schema["minItems"]),
                    );
                }
                if schema["maxItems"].as_u64().is_some_and(|most| count > most) {
                    self.misfit(
                        tree,
                        path,
                        &format!("has {count} items, {} are the most", schema["maxItems"]),
                    );
                }
                for (at, item) in list.iter().enumerate() {
                    self.check(item, &schema["items"], &format!("{path}[{at}]"));
                }
            }
            (Node::Scalar(value), wanted) => {
                if let Some(text) = self.scalar(value, wanted, schema) {
                    self.misfit(tree, path, &text);
                }
            }
            (_, wanted) => self.misfit(tree, path, &format!("must be of type {wanted}")),
        }
    }

    /// What is wrong with a scalar.
    fn scalar(&self, value: &Value, wanted: &str, schema: &Value) -> Option<String> {
        let fits = match wanted {
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            _ => false,
        };
        if !fits {
            return Some(format!("must be of type {wanted}, and {value} is not"));
        }
        if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            return Some(format!("{value} is none of {}", allowed.join(", ")));
        }
        if let Some(text) = value.as_str() {
            let count = text.chars().count() as u64;
            let pattern = schema["pattern"]
                .as_str()
                .and_then(|pattern| self.patterns.get(pattern));
            if pattern.is_some_and(|pattern| !pattern.is_match(text)) {
                return Some(format!("{value} does not match {}", schema["pattern"]));
            }
            let short = schema["minLength"].as_u64().is_some_and(|least| count < least);
            let long = schema["maxLength"].as_u64().is_some_and(|most| count > most);
            return (short || long).then(|| {
                format!(
                    "{value} has {count} characters, which is too {}",
                    if short { "few" } else { "many" }
                )
            });
        }
        let number = value.as_f64()?;
        let low = schema["minimum"]
            .as_f64()
            .filter(|least| number < *least)
            .map(|least| format!("{value} is less than {least}"));
        low.or_else(|| {
            schema["maximum"]
                .as_f64()
                .filter(|most| number > *most)
                .map(|most| format!("{value} is more than {most}"))
        })
    }

    fn misfit(&mut self, tree: &Tree, path: &str, text: &str) {
        let text = format!("{path}: {text}");
        self.misfits.push(Misfit { at: tree.at, text });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::documents;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let tree = documents(text).unwrap().remove(0);
        let version = tree.text("apiVersion").split_once('/').unwrap().1.to_owned();
        let misfits = Schemas::get().check(tree.text("kind"), &version, &tree).unwrap();
        misfits
            .into_iter()
            .map(|misfit| format!("{}: {}", misfit.at.line, misfit.text))
            .collect()
    }

    // CLI-30
    #[test]
    fn an_unknown_field_is_named_with_what_was_meant() {
        let peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: tor}\nspec:\n  myASN: 64500\n  peerAsn: 64501\n  \
                    peerAddress: 192.0.2.1\n";
        assert_eq!(
            found(peer),
            ["6: unknown field \"spec.peerAsn\" (did you mean peerASN?)"]
        );
    }

    #[test]
    fn types_bounds_and_what_is_required_are_checked() {
        let peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: tor}\nspec:\n  myASN: -1\n  peerPort: high\n  \
                    nodeSelectors: {}\n";
        let found = found(peer);
        let says = |part: &str| {
            let said = found.iter().any(|text| text.contains(part));
            assert!(said, "{part} is not in {found:#?}");
        };
        says("5: spec.myASN: -1 is less than 0");
        says("6: spec.peerPort: must be of type integer, and \"high\" is not");
        says("7: spec.nodeSelectors: must be of type array");
    }
}
