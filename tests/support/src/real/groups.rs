//! The control groups of a lab's nodes, which nothing removes by itself.

use std::fs;
use std::path::{Path, PathBuf};

const MOUNTS: &str = "/sys/fs/cgroup";
const PREFIX: &str = "metallb-lab.";

/// All control groups of one lab: one folder in each hierarchy of the machine.
pub(crate) struct Groups {
    name: String,
}

impl Groups {
    /// Those of the lab with that work directory, whose name is unique on the machine.
    pub(crate) fn of(work: &Path) -> Self {
        let path = work.to_string_lossy();
        Self {
            name: format!("{PREFIX}{}", path.trim_start_matches('/').replace('/', "-")),
        }
    }

    /// The path of a node's group below each mount.
    pub(super) fn of_node(&self, node: &str) -> String {
        format!("/{}/{node}", self.name)
    }

    /// Removes them; those that a living process is in stay.
    pub(crate) fn remove(&self) {
        for hierarchy in hierarchies() {
            remove_tree(&hierarchy.join(&self.name));
        }
    }
}

/// Makes a group in every hierarchy.
pub(super) fn make(group: &str) -> std::io::Result<()> {
    for hierarchy in hierarchies() {
        fs::create_dir_all(hierarchy.join(group.trim_start_matches('/')))?;
    }
    Ok(())
}

/// The one of version 2, or those of version 1 and what systemd has beside.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = Path::new(MOUNTS);
    if mounts.join("cgroup.controllers").exists() {
        return vec![mounts.into()];
    }
    let entries = fs::read_dir(mounts).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// The files in a group cannot be removed, and need not be.
fn remove_tree(group: &Path) {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path());
    }
    // One that does not exist, or is in use by a process that is just ending.
    let _ = fs::remove_dir(group);
}
