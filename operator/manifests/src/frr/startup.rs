//! The files that FRR starts with, before it gets a configuration.

use k8s_openapi::api::core::v1::ConfigMap;
use metallb_api::names;

use crate::{object::meta, pod::labels};

/// Daemons of routing protocols that MetalLB has no use for, with the address of their terminals.
const IDLE: [(&str, &str); 14] = [
    ("ospfd", "127.0.0.1"),
    ("ospf6d", "::1"),
    ("ripd", "127.0.0.1"),
    ("ripngd", "::1"),
    ("isisd", "127.0.0.1"),
    ("pimd", "127.0.0.1"),
    ("ldpd", "127.0.0.1"),
    ("nhrpd", "127.0.0.1"),
    ("eigrpd", "127.0.0.1"),
    ("babeld", "127.0.0.1"),
    ("sharpd", "127.0.0.1"),
    ("pbrd", "127.0.0.1"),
    ("fabricd", "127.0.0.1"),
    ("vrrpd", "127.0.0.1"),
];

/// What differs between the two places where FRR runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Startup {
    /// The ConfigMap.
    pub(crate) name: &'static str,
    /// Seconds that zebra keeps routes of an earlier life.
    pub(crate) zebra_keeps: Option<u16>,
    /// Whether bgpd takes connections.
    pub(crate) listens: bool,
}

/// FRR beside the speaker.
pub(crate) const SPEAKER: Startup = Startup {
    name: names::FRR_STARTUP_CONFIG_MAP,
    zebra_keeps: None,
    listens: false,
};

/// FRR in frr-k8s.
pub(crate) const FRR_K8S: Startup = Startup {
    name: names::FRR_K8S_STARTUP_CONFIG_MAP,
    zebra_keeps: Some(120),
    listens: false,
};

/// The ConfigMap. Whatever it says about routing lasts until the first configuration is rendered.
pub(crate) fn config_map(startup: Startup) -> ConfigMap {
    let configuration =
        "frr version 8.0\nfrr defaults traditional\nhostname Router\nline vty\nlog stdout informational\n";
    ConfigMap {
        metadata: meta(startup.name, labels([(names::LABEL_APP, names::APP)])),
        data: Some(labels([
            ("daemons", daemons(startup).as_str()),
            ("vtysh.conf", "service integrated-vtysh-config\n"),
            ("frr.conf", configuration),
        ])),
        ..ConfigMap::default()
    }
}

/// Tells FRR's start script which daemons to run, and how. zebra and watchfrr always run.
fn daemons(startup: Startup) -> String {
    let mut lines = vec!["bgpd=yes".to_owned(), "bfdd=yes".to_owned()];
    lines.extend(IDLE.iter().map(|(daemon, _)| format!("{daemon}=no")));
    lines.push("vtysh_enable=yes".to_owned());
    let keep = startup.zebra_keeps.map(|it| format!("-K {it} ")).unwrap_or_default();
    let port = if startup.listens { "" } else { "-p 0 " };
    for (daemon, options) in [
        ("zebra", format!("-s 90000000 {keep}")),
        ("bgpd", port.to_owned()),
        ("staticd", String::new()),
        ("bfdd", String::new()),
    ] {
        lines.push(format!("{daemon}_options=\"-A 127.0.0.1 {options}--limit-fds 100000\""));
    }
    lines.extend(
        IDLE.iter()
            .map(|(daemon, address)| format!("{daemon}_options=\"-A {address}\"")),
    );
    lines.join("\n") + "\n"
}
