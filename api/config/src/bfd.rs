//! BFD profiles.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt;

use crate::context::Context;
use crate::error::{Findings, ObjectRef};
use crate::model::{BfdProfile, Config, Pool};
use crate::rule::Rule;

/// FRR's defaults, in milliseconds.
const INTERVAL: u16 = 300;
const ECHO_INTERVAL: u16 = 50;
const MULTIPLIER: u8 = 3;

/// Parses all BFD profiles.
pub(crate) fn parse(context: &Context<'_>, findings: &mut Findings) -> BTreeMap<String, BfdProfile> {
    let profile = |object: &metallb_api::BFDProfile| {
        let name = object.name_any();
        let reference = ObjectRef::new("BFDProfile", &name);
        let mark = findings.refused.len();
        let spec = &object.spec;
        let mut number = |field: &str, value: Option<i64>, min: i64, max: i64| {
            let value = value?;
            if !(min..=max).contains(&value) {
                let reason = format!("invalid value {value}: must be in {min}-{max} range");
                findings.refuse(Rule::F1, &reference, format!("spec.{field}"), reason);
            }
            u16::try_from(value).ok()
        };
        let receive = number("receiveInterval", spec.receive_interval, 10, 60_000);
        let transmit = number("transmitInterval", spec.transmit_interval, 10, 60_000);
        let echo = number("echoInterval", spec.echo_interval, 10, 60_000);
        let multiplier = number("detectMultiplier", spec.detect_multiplier, 2, 255);
        let ttl = number("minimumTtl", spec.minimum_ttl, 1, 254);
        let millis = |value: Option<u16>, default| Duration::from_millis(value.unwrap_or(default).into());
        (!findings.since(mark)).then(|| BfdProfile {
            name,
            receive_interval: millis(receive, INTERVAL),
            transmit_interval: millis(transmit, INTERVAL),
            detect_multiplier: multiplier.and_then(|value| value.try_into().ok()).unwrap_or(MULTIPLIER),
            echo_interval: millis(echo, ECHO_INTERVAL),
            echo_mode: spec.echo_mode,
            passive_mode: spec.passive_mode,
            minimum_ttl: ttl.and_then(|value| value.try_into().ok()),
        })
    };
    let profiles = context.objects.ours(|all| &all.bfd_profiles).filter_map(profile);
    profiles.map(|profile| (profile.name.clone(), profile)).collect()
}

/// FRR cannot echo over IPv6: an IPv6 pool must not reach a peer whose profile echoes (F-4).
///
/// Upstream: found on the speaker only, and then nothing at all is announced. Here admission refuses it, and a
/// configuration that holds it already is used with a warning.
pub(crate) fn check_echo(context: &Context<'_>, config: &Config, findings: &mut Findings) {
    if !context.options.backend.is_frr() {
        return;
    }
    for peer in config.peers.values() {
        let Some(profile) = peer.bfd_profile.as_ref().and_then(|name| config.bfd_profiles.get(name)) else {
            continue;
        };
        let reached =
            |pool: &&Pool| pool.has_v6() && pool.bgp.iter().any(|advertisement| advertisement.reaches(&peer.name));
        for pool in config.pools.values().filter(reached).filter(|_| profile.echo_mode) {
            let object = ObjectRef::new("BGPPeer", &peer.name);
            let reason = format!(
                "bfd profile \"{}\" has echo enabled, which is not possible with the IPv6 addresses of pool \"{}\"",
                profile.name, pool.name
            );
            if context.options.strict() {
                let mut involves = vec![
                    ObjectRef::new("BFDProfile", &profile.name),
                    ObjectRef::new(pool.kind.as_str(), &pool.name),
                ];
                let names = pool
                    .bgp
                    .iter()
                    .filter(|a| a.reaches(&peer.name))
                    .filter_map(|a| a.name.as_deref());
                involves.extend(names.map(|name| ObjectRef::new("BGPAdvertisement", name)));
                findings.refuse_with(Rule::F4, &object, "spec.bfdProfile", reason, involves);
            } else {
                findings.warn(Rule::F4, &object, "spec.bfdProfile", reason);
            }
        }
    }
}
