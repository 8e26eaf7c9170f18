//! BGP peers.

mod endpoint;
mod password;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kube::ResourceExt;
use metallb_api::{BGPPeer, BGPPeerSpec, DynamicAsn, GoDuration};

use crate::context::Context;
use crate::error::{Findings, ObjectRef};
use crate::meeting::{self, Candidate};
use crate::model::{BfdProfile, Peer, RemoteAs};
use crate::rule::Rule;
use crate::selector::{self, Selector};

/// The port of BGP, RFC 4271 §8.2.1.
const PORT: u16 = 179;
/// The smallest hold time that is not zero, RFC 4271 §4.2.
const MIN_HOLD: Duration = Duration::from_secs(3);
/// The hold time is a 16-bit number of seconds, RFC 4271 §4.2.
const MAX_SECONDS: u64 = 65_535;
/// Longest name of a network interface in Linux, without the final zero byte.
const MAX_INTERFACE_NAME: usize = 15;

/// Parses all peers.
pub(crate) fn parse(
    context: &Context<'_>,
    profiles: &BTreeMap<String, BfdProfile>,
    findings: &mut Findings,
) -> BTreeMap<String, Peer> {
    let mut candidates = Vec::new();
    for object in context.objects.ours(|all| &all.peers) {
        let mut reader = Reader {
            object: ObjectRef::new("BGPPeer", &object.name_any()),
            spec: &object.spec,
            context,
            findings: Findings::default(),
        };
        let candidate = reader.candidate(object, profiles);
        let Some(found) = reader.relevant_findings() else {
            continue;
        };
        if found.refused.is_empty() {
            candidates.extend(candidate);
        }
        findings.append(found);
    }
    meeting::exclude(candidates, context.options, context.running, findings)
        .into_iter()
        .map(|candidate| (candidate.peer.name.clone(), candidate.peer))
        .collect()
}

/// Reads the fields of one BGPPeer.
struct Reader<'a> {
    object: ObjectRef,
    spec: &'a BGPPeerSpec,
    context: &'a Context<'a>,
    findings: Findings,
}

impl Reader<'_> {
    fn refuse(&mut self, rule: Rule, field: &str, reason: impl ToString) {
        self.findings
            .refuse(rule, &self.object, format!("spec.{field}"), reason);
    }

    /// What was found, or nothing when the peer is for other nodes only.
    fn relevant_findings(self) -> Option<Findings> {
        let Some(node) = self.context.options.node() else {
            return Some(self.findings);
        };
        let selectors: Result<Vec<_>, _> = self.spec.node_selectors.iter().map(Selector::parse).collect();
        // Selectors that do not parse are everybody's concern.
        let Ok(selectors) = selectors else {
            return Some(self.findings);
        };
        self.context
            .nodes
            .matching_or_all(&selectors)
            .any(|name| name == node)
            .then_some(self.findings)
    }

    /// All that is wrong is in `findings` afterwards; `None` only if something was.
    fn candidate(&mut self, object: &BGPPeer, profiles: &BTreeMap<String, BfdProfile>) -> Option<Candidate> {
        let spec = self.spec;
        let selectors = selector::parse_list(
            &self.object,
            "spec.nodeSelectors",
            &spec.node_selectors,
            &mut self.findings,
        );
        let my_asn = self.asn(Rule::B1, "myASN", Some(spec.my_asn));
        let remote = self.remote();
        let local_asn = self.local_asn();
        let endpoint = self.endpoint();
        let source = self.source(endpoint.as_ref());
        let router_id = self.router_id();
        let port = self.port();
        let (hold_time, keepalive_time) = self.timers();
        let connect_time = self.connect_time();
        let vrf = spec.vrf.clone().filter(|name| !name.is_empty());
        self.interface_name("vrf", vrf.as_deref());
        let password = self.password();
        let secret = self.secret_ref();
        for (field, name) in [
            ("spec.bfdProfile", spec.bfd_profile.as_deref()),
            (
                "spec.passwordSecret.name",
                secret.as_ref().map(|secret| secret.name.as_str()),
            ),
        ] {
            self.context.check_name(&self.object, field, name, &mut self.findings);
        }
        self.bfd_profile(profiles);
        if spec.ebgp_multi_hop && (spec.peer_asn == Some(spec.my_asn) || spec.dynamic_asn == Some(DynamicAsn::Internal))
        {
            self.refuse(
                Rule::B3,
                "ebgpMultiHop",
                "ebgpMultiHop is invalid for a peer of the same AS (iBGP)",
            );
        }
        if spec.ebgp_multi_hop && spec.ttl_security {
            let reason = "ttlSecurity takes nothing that crossed a router, which ebgpMultiHop allows";
            self.refuse(Rule::W25, "ttlSecurity", reason);
        }
        if spec.disable_mp {
            let reason = "disableMP is deprecated and has no effect; use dualStackAddressFamily";
            self.findings.warn(Rule::W1, &self.object, "spec.disableMP", reason);
        }
        let for_all = selectors.iter().any(Selector::is_empty);
        let nodes: BTreeSet<String> = self.context.nodes.matching_or_all(&selectors).collect();
        self.context
            .warn_of_no_node(&self.object, &selectors, "nobody opens the session", &mut self.findings);
        let peer = Peer {
            name: self.object.name.clone(),
            my_asn: my_asn?,
            remote: remote?,
            local_asn,
            endpoint: endpoint?,
            port,
            source,
            hold_time,
            keepalive_time,
            connect_time,
            router_id,
            nodes,
            password,
            password_secret: secret,
            bfd_profile: spec.bfd_profile.clone().filter(|name| !name.is_empty()),
            graceful_restart: spec.enable_graceful_restart.unwrap_or(false),
            ebgp_multihop: spec.ebgp_multi_hop,
            ttl_security: spec.ttl_security,
            dual_stack: spec.dual_stack_address_family,
            vrf,
        };
        Some(Candidate {
            age: self.context.objects.age(object, "BGPPeer"),
            object: self.object.clone(),
            selectors: if for_all { Vec::new() } else { selectors },
            peer,
        })
    }

    fn asn(&mut self, rule: Rule, field: &str, value: Option<i64>) -> Option<u32> {
        match value.map(u32::try_from) {
            Some(Ok(asn)) if asn > 0 => Some(asn),
            Some(Err(_)) => {
                self.refuse(rule, field, format!("{field} must be from 1 to 4294967295"));
                None
            }
            _ => {
                self.refuse(rule, field, format!("missing or zero {field}"));
                None
            }
        }
    }

    fn remote(&mut self) -> Option<RemoteAs> {
        // Upstream treats a zero as absent.
        let asn = self.spec.peer_asn.filter(|asn| *asn != 0);
        match (asn, self.spec.dynamic_asn) {
            (None, None) => self.refuse(Rule::B2, "peerASN", "missing peerASN or dynamicASN"),
            (Some(_), Some(_)) => self.refuse(Rule::B2, "dynamicASN", "both peerASN and dynamicASN are set"),
            (None, Some(DynamicAsn::Internal)) => return Some(RemoteAs::Internal),
            (None, Some(DynamicAsn::External)) => return Some(RemoteAs::External),
            (Some(_), None) => return self.asn(Rule::B2, "peerASN", asn).map(RemoteAs::Asn),
        }
        None
    }

    fn local_asn(&mut self) -> Option<u32> {
        let asn = self.asn(Rule::W25, "localASN", Some(self.spec.local_asn?))?;
        let (local, spec) = (i64::from(asn), self.spec);
        if local == spec.my_asn {
            self.refuse(Rule::W25, "localASN", "localASN must differ from myASN");
        } else if spec.peer_asn == Some(spec.my_asn) || spec.dynamic_asn == Some(DynamicAsn::Internal) {
            self.refuse(
                Rule::W25,
                "localASN",
                "localASN is invalid for a peer of the same AS (iBGP)",
            );
        }
        Some(asn)
    }

    /// What goes into the configuration of FRR, and into socket options, must be a possible name (W-26).
    fn interface_name(&mut self, field: &str, name: Option<&str>) {
        let Some(name) = name else { return };
        let fits = name.len() <= MAX_INTERFACE_NAME
            && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/')
            && ![".", ".."].contains(&name);
        if !fits {
            let reason =
                format!("invalid {field} name {name:?}: at most {MAX_INTERFACE_NAME} bytes, no blanks, no slash");
            self.refuse(Rule::W26, field, reason);
        }
    }

    /// Upstream: takes an IPv6 address and crashes on it (W-22).
    fn router_id(&mut self) -> Option<Ipv4Addr> {
        let text = self.spec.router_id.as_deref().filter(|text| !text.is_empty())?;
        match text.parse::<Ipv4Addr>() {
            Ok(id) if !id.is_unspecified() => Some(id),
            _ => {
                let rule = if text.parse::<IpAddr>().is_ok() {
                    Rule::W22
                } else {
                    Rule::B5
                };
                self.refuse(
                    rule,
                    "routerID",
                    format!("invalid router ID \"{text}\": must be an IPv4 address, not 0.0.0.0"),
                );
                None
            }
        }
    }

    fn port(&mut self) -> u16 {
        match self.spec.peer_port.map(u16::try_from) {
            None | Some(Ok(0)) => PORT, // v1beta1 may hold a zero
            Some(Ok(port)) => port,
            Some(Err(_)) => {
                self.refuse(Rule::W14, "peerPort", "peerPort must be from 1 to 65535");
                PORT
            }
        }
    }

    fn duration(&mut self, field: &str, text: Option<&GoDuration>) -> Option<Duration> {
        match text?.parse() {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.refuse(Rule::W19, field, error);
                None
            }
        }
    }

    /// Hold time and keepalive interval; where one is missing it follows from the other.
    fn timers(&mut self) -> (Option<Duration>, Option<Duration>) {
        let mark = self.findings.refused.len();
        let hold = self.duration("holdTime", self.spec.hold_time.as_ref());
        let keepalive = self.duration("keepaliveTime", self.spec.keepalive_time.as_ref());
        if self.findings.since(mark) {
            return (None, None);
        }
        if let Some(hold) = hold {
            self.check_hold(hold);
        }
        match (hold, keepalive) {
            (None, None) => (None, None),
            (Some(hold), None) => (Some(hold), Some(hold / 3)),
            (None, Some(keepalive)) => {
                self.doubt(Rule::M1, "keepaliveTime", "keepaliveTime needs holdTime");
                let hold = keepalive.saturating_mul(3);
                self.check_hold(hold);
                (Some(hold), Some(keepalive))
            }
            (Some(hold), Some(keepalive)) => {
                if keepalive > hold {
                    self.refuse(
                        Rule::B7,
                        "keepaliveTime",
                        format!("keepaliveTime {keepalive:?} must be lower than holdTime {hold:?}"),
                    );
                } else if keepalive == hold && !hold.is_zero() {
                    self.doubt(
                        Rule::M2,
                        "keepaliveTime",
                        &format!("keepaliveTime {keepalive:?} must be lower than holdTime {hold:?}"),
                    );
                }
                (Some(hold), Some(keepalive))
            }
        }
    }

    /// Upstream: cuts to whole seconds first, so that less than a second passes as zero (W-20).
    fn check_hold(&mut self, hold: Duration) {
        if !hold.is_zero() && hold < MIN_HOLD {
            let rule = if hold.as_secs() == 0 { Rule::W20 } else { Rule::B6 };
            self.refuse(
                rule,
                "holdTime",
                format!("invalid hold time {hold:?}: must be 0 or at least 3s"),
            );
        } else if hold.as_secs() > MAX_SECONDS {
            self.refuse(
                Rule::W20,
                "holdTime",
                format!("invalid hold time {hold:?}: must be at most {MAX_SECONDS}s"),
            );
        }
    }

    /// Refuses what was possible in earlier releases; a configuration that holds it already is used with a warning.
    fn doubt(&mut self, rule: Rule, field: &str, reason: &str) {
        if self.context.options.strict() {
            self.refuse(rule, field, reason);
        } else {
            self.findings.warn(rule, &self.object, format!("spec.{field}"), reason);
        }
    }

    fn connect_time(&mut self) -> Option<Duration> {
        let time = self.duration("connectTime", self.spec.connect_time.as_ref())?;
        if time.subsec_nanos() != 0 || !(1..=MAX_SECONDS).contains(&time.as_secs()) {
            self.refuse(
                Rule::B14,
                "connectTime",
                format!("connectTime {time:?} must be whole seconds, from 1s to {MAX_SECONDS}s"),
            );
        }
        Some(time)
    }

    fn bfd_profile(&mut self, profiles: &BTreeMap<String, BfdProfile>) {
        let Some(name) = self.spec.bfd_profile.as_deref().filter(|name| !name.is_empty()) else {
            return;
        };
        if profiles.contains_key(name) {
            return;
        }
        let reason = format!("peer {} referencing non existing bfd profile {name}", self.object.name);
        if self.context.options.strict() {
            let reason = format!("there is no usable BFDProfile \"{name}\"");
            self.findings.warn(Rule::B11, &self.object, "spec.bfdProfile", reason);
            return;
        }
        self.findings
            .refuse_verbatim(Rule::B11, &self.object, "spec.bfdProfile", reason);
    }
}
