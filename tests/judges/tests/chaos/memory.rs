//! The memory of the components.

use std::collections::BTreeMap;
use std::fs;

/// The program in the image → what people call it.
const PROGRAMS: [(&str, &str); 3] = [
    ("manager", "operator"),
    ("controller", "controller"),
    ("speaker", "speaker"),
];

/// The resident memory of every component's process, in KiB, by name and process.
pub(crate) fn resident() -> BTreeMap<(&'static str, u32), u64> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let program = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let (_, name) = PROGRAMS
            .iter()
            .find(|(program_name, _)| *program_name == program.trim())?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        Some(((*name, pid), line.split_whitespace().nth(1)?.parse().ok()?))
    })
    .collect()
}
