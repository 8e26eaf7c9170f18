//! How tests start FRR's daemons: with sockets and files of their own, beside any other FRR of the machine.

use std::path::Path;

/// Where Debian's package has the daemons.
const FOLDER: &str = "/usr/lib/frr";

/// Where bgpd writes, in its folder.
const BGPD_LOG: &str = "bgpd.log";

/// What bgpd has logged so far. With `bgp log-neighbor-changes` it has each NOTIFICATION, whose reason `show bgp neighbors`
/// may replace within a second.
#[must_use]
pub fn bgpd_log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(BGPD_LOG)).unwrap_or_default()
}

/// Tells whether FRR is installed and has this daemon.
#[must_use]
pub fn has(daemon: &str) -> bool {
    Path::new(FOLDER).join(daemon).exists()
}

/// Tells whether the FRR that is installed is FRR 10, which has `mgmtd` and other options; else it is FRR 8.
#[must_use]
pub fn is_ten() -> bool {
    has("mgmtd")
}

/// The program of a daemon and its arguments. Its sockets are in `folder`; it reads `config`, or nothing.
#[must_use]
pub fn command(daemon: &str, folder: &Path, config: Option<&Path>) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut command = vec![format!("{FOLDER}/{daemon}")];
    let mut add = |options: &[&str]| command.extend(options.iter().map(|option| (*option).to_owned()));
    match daemon {
        // It insists on no group that an unprivileged user namespace does not have.
        "bgpd" => add(&[
            "-S",
            "--log-level",
            "informational",
            "--log",
            &format!("file:{}", path(BGPD_LOG)),
        ]),
        _ => add(&["-u", "root", "-g", "frrvty"]),
    }
    add(&[
        "-P",
        "0",
        "--vty_socket",
        &path(""),
        "-i",
        &path(&format!("{daemon}.pid")),
    ]);
    // In FRR 10 these two are configured by mgmtd itself.
    if !(is_ten() && matches!(daemon, "mgmtd" | "staticd")) {
        let config = config.unwrap_or_else(|| Path::new("/dev/null"));
        add(&["-f", &config.display().to_string()]);
    }
    if daemon != "mgmtd" {
        add(&["-z", &path("zserv")]);
    }
    if daemon == "bfdd" && !is_ten() {
        add(&["--bfdctl", &path("bfdd.sock")]);
    }
    command
}
