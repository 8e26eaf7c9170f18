//! Server-side apply and the book-keeping of `metadata.managedFields`.

mod fields;
mod merge;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use self::fields::{FieldSet, compare};
use crate::meta;
use crate::shape::Shape;

/// Who writes, and where.
#[derive(Clone, Debug)]
pub(crate) struct Manager<'a> {
    pub(crate) name: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) subresource: Option<&'a str>,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: Option<String>,
    time: String,
    fields: FieldSet,
}

impl Entry {
    fn parse(entry: &Value) -> Option<Self> {
        Some(Self {
            manager: entry["manager"].as_str()?.to_owned(),
            operation: meta::text(entry, "/operation").to_owned(),
            api_version: meta::text(entry, "/apiVersion").to_owned(),
            subresource: entry["subresource"]
                .as_str()
                .filter(|s| !s.is_empty())
                .map(str::to_owned),
            time: meta::text(entry, "/time").to_owned(),
            fields: FieldSet::parse(&entry["fieldsV1"]),
        })
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager, "operation": self.operation, "apiVersion": self.api_version, "time": self.time,
            "fieldsType": "FieldsV1", "fieldsV1": self.fields.to_json(),
        });
        if let Some(subresource) = &self.subresource {
            entry["subresource"] = subresource.as_str().into();
        }
        entry
    }

    fn is(&self, manager: &Manager<'_>, operation: &str) -> bool {
        self.manager == manager.name
            && self.operation == operation
            && self.subresource.as_deref() == manager.subresource
    }

    /// How a conflict names the owner.
    fn owner(&self) -> String {
        let place = self
            .subresource
            .as_ref()
            .map(|s| format!(" with subresource {s:?}"))
            .unwrap_or_default();
        format!("{:?}{place} using {}", self.manager, self.api_version)
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    meta::array(&object["metadata"]["managedFields"])
        .iter()
        .filter_map(Entry::parse)
        .collect()
}

fn store(object: &mut Value, entries: &[Entry]) {
    let list: Vec<Value> = entries
        .iter()
        .filter(|e| !e.fields.is_empty())
        .map(Entry::to_json)
        .collect();
    let metadata = meta::metadata(object);
    metadata.remove("managedFields");
    if !list.is_empty() {
        metadata.insert("managedFields".into(), list.into());
    }
}

/// The object without the fields that nobody owns.
fn ownable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(root) = object.as_object_mut() {
        root.remove("apiVersion");
        root.remove("kind");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "managedFields",
            "generateName",
        ] {
            metadata.remove(name);
        }
        if metadata.is_empty() {
            object.as_object_mut().map(|root| root.remove("metadata"));
        }
    }
    object
}

/// Applies `config` to `live` for a manager. Conflicts come back as `(owner, path)`, unless `force` takes the fields over.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    manager: &Manager<'_>,
    force: bool,
    shape: Shape<'_>,
) -> Result<Value, Vec<(String, String)>> {
    let (own_live, own_config) = (ownable(live), ownable(config));
    let wanted = FieldSet::of(&own_config, shape);
    let merged = merge::merge(&own_live, &own_config, shape);
    let changed = compare(&own_live, &merged, shape).changed;
    let mut entries = entries(live);
    let mut conflicts = Vec::new();
    for entry in entries.iter_mut().filter(|e| !e.is(manager, "Apply")) {
        let contested = entry.fields.intersection(&changed);
        if contested.is_empty() {
            continue;
        }
        conflicts.extend(contested.paths().into_iter().map(|path| (entry.owner(), path)));
        entry.fields = entry.fields.difference(&contested);
    }
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    let mut kept = wanted.clone();
    entries
        .iter()
        .filter(|e| !e.is(manager, "Apply"))
        .for_each(|e| kept.union(&e.fields));
    let before = entries.iter().position(|e| e.is(manager, "Apply"));
    let mut result = merge::merge(live, config, shape);
    if let Some(at) = before {
        merge::prune(&mut result, &entries[at].fields.difference(&kept), &kept, shape);
    }
    let time = |unchanged: Option<&Entry>| unchanged.map_or_else(meta::now, |e| e.time.clone());
    let entry = Entry {
        manager: manager.name.into(),
        operation: "Apply".into(),
        api_version: manager.api_version.into(),
        subresource: manager.subresource.map(Into::into),
        time: time(before.map(|at| &entries[at]).filter(|e| e.fields == wanted)),
        fields: wanted,
    };
    match before {
        Some(at) => entries[at] = entry,
        None => entries.push(entry),
    }
    store(&mut result, &entries);
    Ok(result)
}

/// Records a write that was no apply: who changed a field owns it, and nobody owns what is gone.
pub(crate) fn record_update(old: &Value, new: &mut Value, manager: &Manager<'_>, shape: Shape<'_>) {
    let sent = &new["metadata"]["managedFields"];
    // An explicit empty list clears the book-keeping; an absent one leaves it as it was.
    let reset = sent.as_array().is_some_and(|l| l.is_empty() || *l == [json!({})]);
    let mut list = if reset {
        Vec::new()
    } else if sent.is_array() {
        entries(new)
    } else {
        entries(old)
    };
    let difference = compare(&ownable(old), &ownable(new), shape);
    for entry in list.iter_mut().filter(|e| !e.is(manager, "Update")) {
        let applied_here = entry.operation == "Apply" && entry.manager == manager.name;
        entry.fields = entry.fields.without_subtrees(&difference.removed);
        if !applied_here {
            entry.fields = entry.fields.difference(&difference.changed);
        }
    }
    let mine = list.iter_mut().find(|e| e.is(manager, "Update"));
    match mine {
        Some(entry) => {
            let mut fields = entry.fields.without_subtrees(&difference.removed);
            fields.union(&difference.changed);
            if fields != entry.fields {
                entry.time = meta::now();
            }
            entry.fields = fields;
            entry.api_version = manager.api_version.into();
        }
        None if !difference.changed.is_empty() => list.push(Entry {
            manager: manager.name.into(),
            operation: "Update".into(),
            api_version: manager.api_version.into(),
            subresource: manager.subresource.map(Into::into),
            time: meta::now(),
            fields: difference.changed,
        }),
        None => {}
    }
    if reset {
        list.clear();
    }
    store(new, &list);
}
