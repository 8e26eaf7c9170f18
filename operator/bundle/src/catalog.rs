//! The file-based catalog: package, channels with upgrade edges, and the bundle.

use serde_json::{Map, Value, json};

use crate::{PACKAGE, Release, annotations::CHANNELS, csv, named};

/// The fields of a ClusterServiceVersion that catalogs show, by their names here and there.
const SHOWN: [(&str, &str); 11] = [
    ("customresourcedefinitions", "crdDescriptions"),
    ("description", "description"),
    ("displayName", "displayName"),
    ("installModes", "installModes"),
    ("keywords", "keywords"),
    ("links", "links"),
    ("maintainers", "maintainers"),
    ("maturity", "maturity"),
    ("minKubeVersion", "minKubeVersion"),
    ("nativeAPIs", "nativeAPIs"),
    ("provider", "provider"),
];

/// Writes the catalog as one YAML stream.
///
/// # Errors
/// A part cannot be written as YAML.
pub(crate) fn yaml(release: &Release, csv: &Value) -> anyhow::Result<String> {
    let mut blobs = vec![package()];
    blobs.extend(CHANNELS.map(|name| channel(name, release)));
    blobs.push(bundle(release, csv));
    metallb_crdgen::documents(&blobs)
}

fn package() -> Value {
    json!({
        "schema": "olm.package",
        "name": PACKAGE,
        "defaultChannel": CHANNELS[0],
        "description": csv::SUMMARY,
        "icon": { "base64data": csv::icon(), "mediatype": "image/svg+xml" },
    })
}

fn channel(name: &str, release: &Release) -> Value {
    let mut entry = json!({ "name": release.name(), "skipRange": csv::skip_range(release) });
    if let Some(previous) = &release.previous {
        entry["replaces"] = named(previous).into();
    }
    json!({ "schema": "olm.channel", "package": PACKAGE, "name": name, "entries": [entry] })
}

fn bundle(release: &Release, csv: &Value) -> Value {
    let mut properties = vec![json!({
        "type": "olm.package",
        "value": { "packageName": PACKAGE, "version": release.version },
    })];
    let owned = csv["spec"]["customresourcedefinitions"]["owned"].as_array();
    properties.extend(owned.into_iter().flatten().filter_map(gvk));
    properties.push(json!({ "type": "olm.csv.metadata", "value": metadata(csv) }));
    let mut related = vec![json!({ "name": "", "image": release.bundle_image })];
    related.extend(csv["spec"]["relatedImages"].as_array().into_iter().flatten().cloned());
    json!({
        "schema": "olm.bundle",
        "package": PACKAGE,
        "name": release.name(),
        "image": release.bundle_image,
        "properties": properties,
        "relatedImages": related,
    })
}

fn gvk(owned: &Value) -> Option<Value> {
    let (_, group) = owned["name"].as_str()?.split_once('.')?;
    let value = json!({ "group": group, "kind": owned["kind"], "version": owned["version"] });
    Some(json!({ "type": "olm.gvk", "value": value }))
}

/// What of the ClusterServiceVersion a catalog carries, so that nobody need pull the bundle to show it.
fn metadata(csv: &Value) -> Value {
    let mut shown = Map::new();
    for part in ["annotations", "labels"] {
        shown.insert(part.to_owned(), csv["metadata"][part].clone());
    }
    for (field, name) in SHOWN {
        if let Some(value) = csv["spec"].get(field) {
            shown.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(shown)
}
