//! What goes over networks.

use std::net::IpAddr;

use metallb_api::{MetalLBSpec, metallb::Tls};

use super::Fault;
use crate::Rule;

/// The cipher suites that our components know: those of TLS 1.3, where nobody can choose, and those of TLS 1.2.
const CIPHER_SUITES: [&str; 9] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// The curves that our components know: P-256, P-384 and X25519.
const CURVES: [i32; 3] = [23, 24, 29];

/// The port of the health of controller and speaker, unless the operator's environment says otherwise.
const HEALTH_PORT: i32 = 17472;

pub(super) fn check(spec: &MetalLBSpec, faults: &mut Vec<Fault>) {
    exclude_interfaces(spec, faults);
    memberlist(spec, faults);
    numbers(spec, faults);
    if let Some(tls) = &spec.tls {
        check_tls(tls, faults);
    }
}

fn exclude_interfaces(spec: &MetalLBSpec, faults: &mut Vec<Fault>) {
    let patterns = spec.exclude_interfaces.iter().flat_map(|it| &it.patterns);
    for (place, pattern) in patterns.enumerate() {
        if regex::Regex::new(pattern).is_err() {
            let field = format!("spec.excludeInterfaces.patterns[{place}]");
            let reason = format!("{pattern:?} is not a regular expression");
            faults.push(Fault::new(Rule::K1, field, reason));
        }
    }
}

fn memberlist(spec: &MetalLBSpec, faults: &mut Vec<Fault>) {
    let Some(memberlist) = &spec.memberlist else { return };
    if let Some(address) = memberlist
        .bind_address
        .as_deref()
        .filter(|it| it.parse::<IpAddr>().is_err())
    {
        let reason = format!("{address:?} is not an address");
        faults.push(Fault::new(Rule::K2, "spec.memberlist.bindAddress", reason));
    }
    // Without a membership every speaker takes all nodes for speakers, also those that have none.
    if memberlist.enabled == Some(false) && !spec.node_selector.is_empty() {
        let reason = "cannot be false while nodeSelector leaves nodes without a speaker";
        faults.push(Fault::new(Rule::K3, "spec.memberlist.enabled", reason));
    }
}

/// As the schema says; asked again for those that were stored past it.
fn numbers(spec: &MetalLBSpec, faults: &mut Vec<Fault>) {
    let metrics = spec.metrics.as_ref().and_then(|it| it.port);
    let memberlist = spec.memberlist.as_ref().and_then(|it| it.port);
    let mut within = |field: &str, value: Option<i32>, min: i32, max: i32| {
        if let Some(value) = value.filter(|value| !(min..=max).contains(value)) {
            let reason = format!("{value} must be in the range {min}-{max}");
            faults.push(Fault::new(Rule::K11, field, reason));
        }
    };
    within("spec.metrics.port", metrics, 1, 65_535);
    within("spec.memberlist.port", memberlist, 1, 65_535);
    within("spec.bgpDebounceTimeout", spec.bgp_debounce_timeout, 1, 600_000);
    let policies = spec.network_policies.iter().flat_map(|it| &it.api_server_ports);
    for (place, port) in policies.enumerate() {
        let field = format!("spec.networkPolicies.apiServerPorts[{place}]");
        within(&field, Some(*port), 1, 65_535);
    }
    // A speaker has the network of its node, where each port is there once.
    let listeners = [
        ("spec.metrics.port", metrics),
        ("spec.memberlist.port", memberlist),
        ("", Some(HEALTH_PORT)),
    ];
    for (place, (field, port)) in listeners.iter().enumerate() {
        if port.is_some() && listeners[place + 1..].iter().any(|(_, other)| other == port) {
            let reason = format!(
                "port {} is in use by the speaker for something else",
                port.unwrap_or_default()
            );
            faults.push(Fault::new(Rule::K10, *field, reason));
        }
    }
}

/// As the components say when they start. With TLS 1.3 the suites have no effect, which is no fault.
fn check_tls(tls: &Tls, faults: &mut Vec<Fault>) {
    for (place, name) in tls.cipher_suites.iter().enumerate() {
        if !CIPHER_SUITES.contains(&name.as_str()) {
            let field = format!("spec.tls.cipherSuites[{place}]");
            let reason = format!(
                "unknown cipher suite {name:?}, must be one of {}",
                CIPHER_SUITES.join(", ")
            );
            faults.push(Fault::new(Rule::K4, field, reason));
        }
    }
    for (place, curve) in tls.curve_preferences.iter().enumerate() {
        let field = || format!("spec.tls.curvePreferences[{place}]");
        if !CURVES.contains(curve) {
            let reason = format!("unknown curve {curve}, must be one of 23, 24, 29");
            faults.push(Fault::new(Rule::K4, field(), reason));
        } else if tls.curve_preferences[..place].contains(curve) {
            faults.push(Fault::new(Rule::K4, field(), format!("curve {curve} is listed twice")));
        }
    }
}
