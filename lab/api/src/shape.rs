//! How lists and maps of an object merge: from a custom resource's schema, or from a table for built-in kinds.

use serde_json::Value;

use crate::meta;

/// How server-side apply treats a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ListKind {
    Atomic,
    Set,
    /// Elements are told apart by these fields; some keys have a default.
    Map(Vec<(String, Option<Value>)>),
}

/// The shape of one place in an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    schema: Option<&'a Value>,
    /// The last two named fields on the way here; list elements keep those of their list.
    parent: &'a str,
    field: &'a str,
}

/// A built-in list: parent field (empty: any), field, server-side apply keys by commas (`=`: a set), strategic-merge key.
struct Row(&'static str, &'static str, &'static str, &'static str);

const LISTS: &[Row] = &[
    Row("spec", "ports", "port,protocol", "port"),
    Row("containers", "ports", "containerPort,protocol", "containerPort"),
    Row("", "containers", "name", "name"),
    Row("", "initContainers", "name", "name"),
    Row("", "env", "name", "name"),
    Row("", "volumes", "name", "name"),
    Row("", "volumeMounts", "mountPath", "mountPath"),
    Row("", "imagePullSecrets", "name", "name"),
    Row("", "secrets", "name", "name"),
    Row("", "conditions", "type", "type"),
    Row("status", "addresses", "type", "type"),
    Row("spec", "taints", "", "key"),
    Row("", "podIPs", "ip", "ip"),
    Row("", "podCIDRs", "=", "="),
    Row("metadata", "ownerReferences", "uid", "uid"),
    Row("metadata", "finalizers", "=", "="),
    Row("", "webhooks", "name", "name"),
];

/// Maps that are replaced as a whole, and `spec.selector`.
const ATOMIC_MAPS: &str = "labelSelector podSelector namespaceSelector objectSelector nodeSelector secretKeyRef \
                           configMapKeyRef fieldRef targetRef involvedObject roleRef";

impl<'a> Shape<'a> {
    /// The root of an object; `schema` is `Null` for built-in kinds.
    pub(crate) fn root(schema: &'a Value) -> Self {
        Self {
            schema: (!schema.is_null()).then_some(schema),
            parent: "",
            field: "",
        }
    }

    /// The shape of the named member.
    pub(crate) fn child<'b>(self, name: &'b str) -> Shape<'b>
    where
        'a: 'b,
    {
        let custom = self.schema.filter(|_| !(self.field.is_empty() && name == "metadata"));
        let schema = custom.map(|schema| {
            let property = schema.get("properties").and_then(|p| p.get(name));
            property
                .or_else(|| schema.get("additionalProperties").filter(|a| a.is_object()))
                .unwrap_or(&Value::Bool(true))
        });
        Shape {
            schema,
            parent: self.field,
            field: name,
        }
    }

    /// The shape of a list's elements.
    pub(crate) fn item(self) -> Self {
        Self {
            schema: self.schema.map(|s| s.get("items").unwrap_or(&Value::Bool(true))),
            ..self
        }
    }

    fn row(&self) -> Option<&'static Row> {
        LISTS
            .iter()
            .find(|row| row.1 == self.field && (row.0.is_empty() || row.0 == self.parent))
    }

    pub(crate) fn list(&self) -> ListKind {
        let Some(schema) = self.schema else {
            let Some(row) = self.row() else { return ListKind::Atomic };
            let key = |key: &str| (key.to_owned(), (key == "protocol").then(|| "TCP".into()));
            return match row.2 {
                "" => ListKind::Atomic,
                "=" => ListKind::Set,
                keys => ListKind::Map(keys.split(',').map(key).collect()),
            };
        };
        match meta::text(schema, "/x-kubernetes-list-type") {
            "set" => ListKind::Set,
            "map" => {
                let default = |key: &str| schema.pointer(&format!("/items/properties/{key}/default")).cloned();
                let keys = meta::strings(&schema["x-kubernetes-list-map-keys"]);
                ListKind::Map(keys.into_iter().map(|k| (k.to_owned(), default(k))).collect())
            }
            _ => ListKind::Atomic,
        }
    }

    /// The field by which a strategic merge matches elements: `=` for a list of scalars that is merged as a set.
    pub(crate) fn merge_key(&self) -> Option<&'static str> {
        self.row()
            .map(|row| row.3)
            .filter(|key| !key.is_empty() && self.schema.is_none())
    }

    /// Whether a map is owned and replaced as a whole.
    pub(crate) fn atomic_map(&self) -> bool {
        match self.schema {
            Some(schema) => meta::text(schema, "/x-kubernetes-map-type") == "atomic",
            None => {
                let selector = (self.parent, self.field) == ("spec", "selector");
                selector || ATOMIC_MAPS.split_whitespace().any(|name| name == self.field)
            }
        }
    }
}
