//! Server-side apply and the book-keeping of `metadata.managedFields`.

mod fields;
mod merge;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use self::fields::{FieldSet, changed};
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

    fn new(manager: &Manager<'_>, operation: &str, fields: FieldSet) -> Self {
        Self {
            manager: manager.name.into(),
            operation: operation.into(),
            api_version: manager.api_version.into(),
            subresource: manager.subresource.map(Into::into),
            time: meta::now(),
            fields,
        }
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
}

fn entries(object: &Value) -> Vec<Entry> {
    meta::array(&object["metadata"]["managedFields"])
        .iter()
        .filter_map(Entry::parse)
        .collect()
}

fn store(object: &mut Value, entries: &[Entry]) {
    let owning = entries.iter().filter(|e| !e.fields.is_empty());
    let list: Vec<Value> = owning.map(Entry::to_json).collect();
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
        let owned = ["labels", "annotations", "finalizers", "ownerReferences"];
        metadata.retain(|name, _| owned.contains(&name.as_str()));
        if metadata.is_empty() {
            object.as_object_mut().map(|root| root.remove("metadata"));
        }
    }
    object
}

/// Applies `config` to `live` for a manager. The managers whose fields it would change come back, unless `force` takes
/// these over.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    manager: &Manager<'_>,
    force: bool,
    shape: Shape<'_>,
) -> Result<Value, Vec<String>> {
    let (own_live, own_config) = (ownable(live), ownable(config));
    let wanted = FieldSet::of(&own_config, shape);
    let changed = changed(&own_live, &merge::merge(&own_live, &own_config, shape), shape);
    let mut entries = entries(live);
    let mut conflicts = Vec::new();
    let mut kept = wanted.clone();
    for entry in entries.iter_mut().filter(|e| !e.is(manager, "Apply")) {
        let contested = entry.fields.intersection(&changed);
        if !contested.is_empty() {
            conflicts.push(format!("{:?} using {}", entry.manager, entry.api_version));
            entry.fields = entry.fields.difference(&contested);
        }
        kept.union(&entry.fields);
    }
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    let before = entries.iter().position(|e| e.is(manager, "Apply"));
    let mut result = merge::merge(live, config, shape);
    let mut entry = Entry::new(manager, "Apply", wanted);
    match before {
        Some(at) => {
            merge::prune(&mut result, &entries[at].fields.difference(&kept), &kept, shape);
            if entries[at].fields == entry.fields {
                entry.time.clone_from(&entries[at].time);
            }
            entries[at] = entry;
        }
        None => entries.push(entry),
    }
    store(&mut result, &entries);
    Ok(result)
}

/// Records a write that was no apply: who changed a field owns it.
pub(crate) fn record_update(old: &Value, new: &mut Value, manager: &Manager<'_>, shape: Shape<'_>) {
    let sent = &new["metadata"]["managedFields"];
    // An explicit empty list clears the book-keeping; an absent one leaves it as it was.
    if sent.as_array().is_some_and(|l| l.is_empty() || *l == [json!({})]) {
        store(new, &[]);
        return;
    }
    let mut list = entries(if sent.is_array() { new } else { old });
    let changed = changed(&ownable(old), &ownable(new), shape);
    let mut mine = Entry::new(manager, "Update", changed.clone());
    list.retain_mut(|entry| {
        if entry.is(manager, "Update") {
            mine.fields.union(&entry.fields);
            if mine.fields == entry.fields {
                mine.time.clone_from(&entry.time);
            }
            return false;
        }
        if entry.operation != "Apply" || entry.manager != manager.name {
            entry.fields = entry.fields.difference(&changed);
        }
        true
    });
    list.push(mine);
    store(new, &list);
}
