//! The texts of the licences, each once.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::Value;

/// Collects the licences and notices that lie in the packages' folders.
///
/// # Errors
/// A folder or a text cannot be read.
pub(crate) fn texts(linked: &[&Value]) -> anyhow::Result<String> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in linked {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let named = format!(
            "{} {}",
            package["name"].as_str().unwrap_or_default(),
            package["version"].as_str().unwrap_or_default()
        );
        for file in files(manifest.parent().unwrap_or(manifest))? {
            let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            users
                .entry(String::from_utf8_lossy(&text).trim().to_owned())
                .or_default()
                .push(named.clone());
        }
    }
    let mut all = String::new();
    for (text, packages) in users {
        writeln!(all, "{}\n\n{text}\n\n{}", packages.join(", "), "=".repeat(80))?;
    }
    Ok(all)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let text = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"]
            .iter()
            .any(|start| name.starts_with(start));
        if text && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
