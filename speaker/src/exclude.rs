//! The interfaces that layer 2 never uses: `/etc/metallb/excludel2.yaml`.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use regex::RegexSet;
use serde::Deserialize;

/// Where the ConfigMap is mounted.
pub(crate) const FILE: &str = "/etc/metallb/excludel2.yaml";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    announced_interfaces_to_exclude: Option<Vec<String>>,
}

/// Reads the expressions of `file`; a missing file excludes nothing.
///
/// # Errors
/// When the file is illegible, not YAML, or an expression is none.
pub(crate) fn read(file: &Path) -> Result<RegexSet> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(RegexSet::empty()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    parse(&text).with_context(|| format!("cannot use {}", file.display()))
}

/// The expressions are not anchored; one that matches excludes.
fn parse(text: &str) -> Result<RegexSet> {
    if text.trim().is_empty() {
        return Ok(RegexSet::empty());
    }
    let content: Option<Content> = serde_saphyr::from_str(text)?;
    Ok(RegexSet::new(
        content
            .and_then(|c| c.announced_interfaces_to_exclude)
            .unwrap_or_default(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    // L2-63
    #[test]
    fn the_shipped_list_excludes_virtual_interfaces_only() {
        let set = parse("announcedInterfacesToExclude: [\"^docker.*\", \"^veth.*\", \"^lo$\"]\n").unwrap();
        assert!(set.is_match("veth123") && set.is_match("lo"));
        assert!(!set.is_match("eth0") && !set.is_match("lo0"));
    }

    // L2-63
    #[test]
    fn no_file_and_an_empty_list_exclude_nothing() {
        assert!(read(Path::new("/nonexistent")).unwrap().is_empty());
        for text in [
            "",
            "announcedInterfacesToExclude: []",
            "announcedInterfacesToExclude:",
            "other: 1",
        ] {
            assert!(parse(text).unwrap().is_empty(), "{text}");
        }
    }

    // L2-63
    #[test]
    fn a_bad_expression_is_an_error() {
        assert!(parse("announcedInterfacesToExclude: [\"(\"]").is_err());
    }
}
