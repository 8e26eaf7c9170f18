//! Processes on all nodes, found by their command line.

use std::fs;

use anyhow::Result;
use nix::unistd::Pid;

/// Processes whose first argument is `path`.
pub(crate) fn called(path: &str) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has ended meanwhile has no command line.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).next() == Some(path.as_bytes()) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}
