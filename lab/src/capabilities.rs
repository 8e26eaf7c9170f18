//! Linux capabilities of a pod's process, as Kubernetes names them (without `CAP_`).

use std::str::FromStr;

use anyhow::{Context, Result};
use caps::{CapSet, Capability, CapsHashSet};

/// What a container engine leaves to a container that asks for nothing.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The set that results from a container's `securityContext.capabilities`.
pub(crate) fn resolve(add: &[String], drop: &[String]) -> Vec<String> {
    let is = |name: &str, listed: &[String]| {
        listed
            .iter()
            .any(|l| l.trim_start_matches("CAP_").eq_ignore_ascii_case(name))
    };
    let defaults = DEFAULT
        .into_iter()
        .filter(|name| !is(name, drop) && !is("ALL", drop))
        .map(String::from);
    let added = add.iter().map(|name| name.trim_start_matches("CAP_").to_uppercase());
    defaults.chain(added).collect()
}

/// Gives up everything but `kept`, for this process and all it will execute.
pub(crate) fn keep(kept: &[String]) -> Result<()> {
    let wanted: CapsHashSet = kept
        .iter()
        .filter_map(|name| Capability::from_str(&format!("CAP_{name}")).ok())
        .collect();
    for capability in caps::runtime::thread_all_supported().difference(&wanted) {
        caps::drop(None, CapSet::Bounding, *capability).context("cannot drop a capability")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn dropping_all_leaves_what_is_added() {
        assert_eq!(resolve(&["NET_RAW".into()], &["ALL".into()]), ["NET_RAW"]);
    }

    #[test]
    fn a_container_that_asks_for_nothing_has_the_engines_defaults() {
        assert!(resolve(&[], &[]).iter().any(|name| name == "NET_BIND_SERVICE"));
        assert!(!resolve(&[], &[]).iter().any(|name| name == "NET_ADMIN"));
    }
}
