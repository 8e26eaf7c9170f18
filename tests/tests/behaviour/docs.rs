//! What the documents name exists: reasons, metrics, flags, values of the chart, fields.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Written by programs, which are tested themselves.
const GENERATED: [&str; 3] = ["validation.md", "metallb-resource.md", "commands.md"];
/// Flags of other people's programs.
const FOREIGN_FLAGS: [&str; 2] = ["--operatorhub_validate", "--server-side"];
/// Fields of Kubernetes' own kinds.
const FOREIGN_FIELDS: [&str; 2] = ["spec.loadBalancerClass", "spec.loadBalancerIP"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below some folders of the repository with that ending.
fn files(folders: &[&str], ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found
}

fn text(files: &[PathBuf]) -> String {
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

fn documents() -> Vec<PathBuf> {
    let written = |path: &PathBuf| !GENERATED.iter().any(|name| path.ends_with(name));
    files(&["docs"], ".md").into_iter().filter(written).collect()
}

fn sources() -> String {
    text(&files(
        &["api", "cli", "controller", "operator", "speaker", "webhooks", "runtime"],
        ".rs",
    ))
}

/// What stands between single backticks, outside of blocks.
fn quoted(document: &str) -> BTreeSet<&str> {
    let prose = document.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

fn is_camel_case(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
}

/// The cells of a document's tables that hold reasons.
fn tabled_reasons(name: &str) -> BTreeSet<String> {
    let document = fs::read_to_string(root().join("docs").join(name)).unwrap();
    let rows = document.lines().filter(|line| line.starts_with('|'));
    let cells = rows.flat_map(|row| row.split('|').skip(1).take(2));
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    words.filter(|word| is_camel_case(word)).map(str::to_owned).collect()
}

#[test]
fn every_reason_in_a_table_is_given_and_every_degraded_one_is_in_the_table() {
    let sources = sources();
    for name in ["operator.md", "controller.md"] {
        let reasons = tabled_reasons(name);
        assert!(reasons.len() > 10, "{name} has lost its table");
        for reason in reasons {
            assert!(
                sources.contains(&format!("\"{reason}\"")),
                "docs/{name}: nobody says {reason}"
            );
        }
    }
    let told = tabled_reasons("operator.md");
    let operator = text(&files(&["operator/src"], ".rs"));
    for said in operator.split("degraded(\"").skip(1) {
        let reason = said.split('"').next().unwrap();
        assert!(
            !is_camel_case(reason) || told.contains(reason),
            "docs/operator.md lacks {reason}"
        );
    }
}

#[test]
fn every_metric_exists() {
    let sources = sources();
    // The prefix of those of BGP depends on the back-end, all of BFD have the same: the source has the rest of the name.
    let exists = |word: &str| {
        let rest = ["metallb_bgp_", "metallb_bfd_"]
            .iter()
            .find_map(|prefix| word.strip_prefix(prefix));
        sources.contains(word) || rest.is_some_and(|rest| sources.contains(&format!("\"{rest}\"")))
    };
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            assert!(
                !word.starts_with("metallb_") || exists(word),
                "{}: {word}",
                document.display()
            );
        }
    }
}

#[test]
fn every_flag_exists() {
    let arguments = text(&files(
        &["cli/src", "controller/src", "operator/src", "speaker/src"],
        "args.rs",
    ));
    // Made from the program.
    let commands = fs::read_to_string(root().join("docs/cli/commands.md")).unwrap();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for word in quoted(&text)
            .into_iter()
            .filter(|word| word.starts_with("--") && !word.contains(' '))
        {
            let flag = word.split('=').next().unwrap();
            let name = flag.trim_start_matches('-');
            let field = format!("pub {}:", name.replace('-', "_"));
            let named = format!("long = \"{name}\"");
            let exists =
                [&field, &named].iter().any(|text| arguments.contains(*text)) || commands.contains(&format!("`{flag}"));
            // kubectl's and Helm's are seen when somebody follows the document.
            assert!(
                exists || FOREIGN_FLAGS.contains(&flag),
                "{}: {word}",
                document.display()
            );
        }
    }
}

#[test]
fn every_value_of_the_chart_exists() {
    let values = fs::read_to_string(root().join("charts/metallb/values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    let document = fs::read_to_string(root().join("docs/install/helm.md")).unwrap();
    let mut count = 0;
    for word in quoted(&document) {
        let path = word.split(':').next().unwrap();
        let first = path.split('.').next().unwrap();
        if !path.contains('.') || path.contains(['*', '/', ' ']) || values.get(first).is_none() {
            continue;
        }
        let pointer = format!("/{}", path.replace('.', "/"));
        assert!(values.pointer(&pointer).is_some(), "docs/install/helm.md: {path}");
        count += 1;
    }
    assert!(count > 5, "the document has lost its values");
}

/// Tells whether a schema has a field.
fn has(schema: &Value, path: &str) -> bool {
    path.split('.')
        .try_fold(schema, |schema, part| {
            let schema = schema.get("items").unwrap_or(schema);
            schema.get("properties")?.get(part)
        })
        .is_some()
}

#[test]
fn every_field_exists() {
    let schemas: Vec<Value> = metallb_crdgen::crds()
        .into_iter()
        .flat_map(|crd| crd.spec.versions)
        .map(|version| serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap())
        .collect();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for word in quoted(&text) {
            let path = word.trim_start_matches('.').split(':').next().unwrap();
            let is_path = path.starts_with("spec.") || path.starts_with("status.");
            if is_path && !path.contains([' ', '[', '=']) && !FOREIGN_FIELDS.contains(&path) {
                let known = schemas.iter().any(|schema| has(schema, path));
                assert!(known, "{}: {word}", document.display());
            }
        }
    }
}

#[test]
fn the_oldest_kubernetes_is_the_same_everywhere_and_tested() {
    let folders = fs::read_dir(root().join("tests/envtest"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let tested = folders.filter_map(|name| name.to_str()?.strip_prefix("1.")?.parse::<u32>().ok());
    let oldest = tested.min().unwrap();
    for (file, text) in [
        ("README.md", format!("Kubernetes 1.{oldest} or newer")),
        ("docs/install/helm.md", format!("Kubernetes 1.{oldest} or newer")),
        ("docs/install/migration.md", format!("1.{oldest} or newer")),
        ("docs/install/kubernetes.md", format!("1.{oldest} or newer")),
        ("tests/support/README.md", format!("or `1.{oldest}`")),
        (
            "charts/metallb/Chart.yaml",
            format!("kubeVersion: \">=1.{oldest}.0-0\""),
        ),
        (
            "charts/metallb-operator/Chart.yaml",
            format!("kubeVersion: \">=1.{oldest}.0-0\""),
        ),
        (
            "bundle/manifests/metallb-operator.clusterserviceversion.yaml",
            format!("minKubeVersion: \"1.{oldest}.0\""),
        ),
    ] {
        let found = fs::read_to_string(root().join(file)).unwrap();
        assert!(found.contains(&text), "{file} does not say {text:?}");
    }
}
