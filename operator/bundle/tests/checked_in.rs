//! The files in the repository are those that the generator makes.

#![allow(clippy::unwrap_used, reason = "clippy takes the helpers of tests for no tests")]

use std::{collections::BTreeMap, fs, path::Path};

use metallb_bundle::Release;

/// Every file below a folder, by its path from the root of the repository.
fn below(root: &Path, folder: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            below(root, &name, found);
        } else {
            found.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
}

#[test]
fn bundle_and_catalog_are_up_to_date_and_nothing_is_left_over() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeMap::new();
    for folder in ["bundle", "olm/configs"] {
        below(&root, folder, &mut found);
    }
    let dockerfile = "bundle.Dockerfile".to_owned();
    found.insert(dockerfile.clone(), fs::read_to_string(root.join(dockerfile)).unwrap());
    let wanted = Release::current().files().unwrap();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&found),
        names(&wanted),
        "run .ci/generate; delete what it does not make"
    );
    for (name, text) in &wanted {
        assert!(&found[name] == text, "{name} is out of date: run .ci/generate");
    }
}
