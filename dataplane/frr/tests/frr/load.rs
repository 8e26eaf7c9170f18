//! Golden files loaded into FRR.

use std::{fs, path::Path, process::Command};

use metallb_frr::{
    Neighbour,
    word::{Host, Password},
};
use metallb_test_runner::{frr, in_namespace, skip};

use crate::{
    cases,
    daemons::{Frr, run, words},
    golden,
};

pub(crate) fn vtysh_understands_every_golden_file() {
    if !Path::new("/usr/bin/vtysh").exists() {
        skip("FRR is not installed");
    }
    for (name, _) in cases::all() {
        let output = Command::new("vtysh")
            .arg("-C")
            .arg("-f")
            .arg(golden::path(name))
            .output()
            .unwrap();
        assert!(
            output.status.success() && !words(&output).contains('%'),
            "{name}: {}",
            words(&output)
        );
    }
}

/// What FRR has other words for, or keeps: the level that it takes when none is given, the community of old releases, an
/// entry that the user's own lines replace, and the head of a block that became empty.
const IMPOSED: [&str; 8] = [
    "no log stdout",
    "log stdout debugging",
    "route-map 192.0.2.1-out permit 4",
    " no set community internet additive",
    " set community 0:0 additive",
    "route-map 192.0.2.1-in deny 20",
    "no bfd",
    "exit",
];

/// What frr-reload.py would change: nothing, but for what FRR adds or hides on its own account.
fn differences(daemons: &Frr, text: &str) -> Vec<String> {
    let output = daemons.reload(text, "--test");
    assert!(output.status.success(), "{}", words(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let imposed = |line: &str| {
        // The interface of an unnumbered neighbour sends router advertisements.
        let is_ours = !line.starts_with("interface ") && !line.contains("ipv6 nd ") && !IMPOSED.contains(&line);
        // FRR 10 does this without being told, and so does not show it.
        !is_ours || frr::is_ten() && line.ends_with(" nht resolve-via-default")
    };
    let log = |line: &str| line.starts_with("Lines To") || line.starts_with("===") || line.starts_with("20");
    let lines = said
        .lines()
        .filter(|line| !line.trim().is_empty() && !log(line) && !imposed(line));
    lines.map(str::to_owned).collect()
}

// FRR-24, FRR-67
pub(crate) fn a_second_reload_of_any_golden_file_changes_nothing() {
    in_namespace(async {
        run("ip link set lo up");
        let frr = Frr::start(None);
        run("ip link add eth1 type veth peer name eth2 && ip link set eth1 up && ip link set eth2 up");
        let mut failed = Vec::new();
        // FRR shows what the host is called, whatever it is told.
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        for (name, mut desired) in cases::all() {
            desired.hostname = Host::new(host.trim()).ok();
            let text = desired.render();
            // FRR 8.4 reports a failure of `graceful-restart` although it does it.
            let output = frr.reload(text.as_str(), "--reload");
            let twice = !output.status.success();
            if twice && !frr.reload(text.as_str(), "--reload").status.success() {
                failed.push(format!("{name}: {}", words(&output)));
            }
            let left = differences(&frr, text.as_str());
            if !left.is_empty() {
                failed.push(format!("{name} {left:#?}"));
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    });
}

// FRR-15, FRR-62
pub(crate) fn passwords_of_every_sort_load() {
    in_namespace(async {
        run("ip link set lo up");
        let frr = Frr::start(None);
        for key in [
            "!",
            "#x",
            "a!b#c",
            "\"quoted'",
            "|",
            "a|b",
            "?",
            "p\u{e4}ss",
            "\\",
            "$(x)",
            &"x".repeat(80),
        ] {
            let neighbour = Neighbour {
                password: Some(Password::new(key).unwrap()),
                ..cases::external("192.0.2.1")
            };
            let text = cases::desired(vec![cases::session(cases::router(), neighbour, &[])]).render();
            frr.apply(text.as_str());
            let line = format!("neighbor 192.0.2.1 password {key}\n");
            let running = frr.vtysh("show running-config");
            assert!(running.contains(&line), "{key}: {running}");
        }
    });
}
