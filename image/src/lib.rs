//! The programs of the image, by the names they are called by.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

/// A program of the image.
pub type Program = fn() -> ExitCode;

/// The program that a path names: a link of the image, which are upstream's, or one of our own binaries.
#[must_use]
pub fn program(called: &OsStr) -> Option<Program> {
    match Path::new(called).file_name()?.to_str()? {
        "manager" | "metallb-operator" => Some(metallb_operator::main),
        "controller" | "metallb-controller" => Some(metallb_controller::main),
        "speaker" | "metallb-speaker" => Some(metallb_speaker::main),
        // Copied into the containers of FRR under these names.
        "frr-reloader.sh" | "frr-reloader" => Some(metallb_frr_tools::reloader),
        "frr-metrics" => Some(metallb_frr_tools::frr_metrics),
        "cp-tool" => Some(metallb_frr_tools::cp_tool),
        "kubectl-metallb" => Some(metallb_cli::main),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_the_image_are_programs_and_nothing_else_is() {
        for name in [
            "/manager",
            "controller",
            "./speaker",
            "/usr/bin/metallb-speaker",
            "/etc/frr_reloader/frr-reloader.sh",
            "frr-metrics",
            "/cp-tool",
            "/kubectl-metallb",
        ] {
            assert!(program(OsStr::new(name)).is_some(), "{name}");
        }
        assert!(program(OsStr::new("metallb")).is_none() && program(OsStr::new("")).is_none());
    }
}
