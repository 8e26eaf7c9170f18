//! BGP peers and BFD profiles.

use super::*;

const FIRST: Object = object(BGP_PEER, "first", "{}");
const FAST: Object = object(BFD_PROFILE, "fast", "{}");
const NODE: Object = object("Node", "rack-1", "{metadata: {labels: {rack: a}}}");
/// Any Secret shows that Secrets can be seen.
const SECRET: Object = object(
    "Secret",
    "tor",
    "{type: kubernetes.io/basic-auth, data: {password: aHVudGVyMg==}}",
);

const BROKEN_LINE: Object = object(
    "Secret",
    "line",
    "{type: kubernetes.io/basic-auth, data: {password: aHVudGVyMgo=}}",
);

const fn peer(rule: Rule, meaning: &'static str, bad: &'static str, good: &'static str, words: &'static str) -> Entry {
    entry(rule, &[BGP_PEER], meaning, bad, good, words)
}

const fn gone(rule: Rule, meaning: &'static str, bad: &'static str) -> Entry {
    Entry {
        at: GONE,
        backends: NATIVE,
        ..peer(rule, meaning, bad, "{}", "")
    }
}

pub(super) const RULES: &[&Entry] = &[
    &peer(
        Rule::B1,
        "has no myASN, or one that is no AS number",
        "{myASN: 0}",
        "{myASN: 4294967295}",
        "missing or zero myASN",
    ),
    &peer(
        Rule::B2,
        "has neither or both of peerASN and dynamicASN",
        "{dynamicASN: external}",
        "{peerASN: null, dynamicASN: external}",
        "both peerASN and dynamicASN are set",
    ),
    &peer(
        Rule::B3,
        "has ebgpMultiHop towards its own AS",
        "{peerASN: 64500, ebgpMultiHop: true}",
        "{ebgpMultiHop: true}",
        "ebgpMultiHop is invalid for a peer of the same AS",
    ),
    &peer(
        Rule::B4,
        "has neither or both of peerAddress and interface",
        "{interface: eth0}",
        "{peerAddress: null, interface: eth0}",
        "invalid BGPPeer address: both peerAddress and interface are set",
    ),
    &peer(
        Rule::B5,
        "has a peerAddress, sourceAddress or routerID that is no address",
        "{peerAddress: 10.0.0.01}",
        "{peerAddress: 'fc00::1'}",
        "invalid BGPPeer address \"10.0.0.01\"",
    ),
    &peer(
        Rule::B6,
        "has a holdTime between 0 and 3 s",
        "{holdTime: 2s}",
        "{holdTime: 3s}",
        "must be 0 or at least 3s",
    ),
    &peer(
        Rule::B7,
        "has a keepaliveTime above its holdTime",
        "{holdTime: 9s, keepaliveTime: 10s}",
        "{holdTime: 9s, keepaliveTime: 3s}",
        "keepaliveTime 10s must be lower than holdTime 9s",
    ),
    &Entry {
        at: NEWLY,
        ..peer(
            Rule::M1,
            "has a keepaliveTime without holdTime",
            "{keepaliveTime: 10s}",
            "{holdTime: 30s, keepaliveTime: 10s}",
            "keepaliveTime needs holdTime",
        )
    },
    &Entry {
        at: NEWLY,
        ..peer(
            Rule::M2,
            "has a keepaliveTime equal to its holdTime, unless both are zero, which switches the timers off",
            "{holdTime: 9s, keepaliveTime: 9s}",
            "{holdTime: 0s, keepaliveTime: 0s}",
            "keepaliveTime 9s must be lower than holdTime 9s",
        )
    },
    &peer(
        Rule::B9,
        "has both password and passwordSecret",
        "{password: a, passwordSecret: {name: tor}}",
        "{password: a}",
        "both password and passwordSecret are set",
    ),
    &Entry {
        at: REFERENCE,
        beside: &[SECRET],
        ..peer(
            Rule::B10,
            "names a Secret that does not exist; when read also one of another type than kubernetes.io/basic-auth, or without password",
            "{passwordSecret: {name: missing}}",
            "{passwordSecret: {name: tor}}",
            "ecret",
        )
    },
    &Entry {
        at: REFERENCE,
        beside: &[FAST],
        ..peer(
            Rule::B11,
            "names a BFDProfile that does not exist",
            "{bfdProfile: missing}",
            "{bfdProfile: fast}",
            "missing",
        )
    },
    &Entry {
        at: &[(Stage::Schema, Effect::Refused)],
        before: Some("{enableGracefulRestart: false}"),
        ..peer(
            Rule::B13,
            "changes enableGracefulRestart from true to false or back",
            "{enableGracefulRestart: true}",
            "{enableGracefulRestart: false, holdTime: 9s}",
            "enableGracefulRestart cannot be changed",
        )
    },
    &Entry {
        at: EVERYWHERE,
        ..peer(
            Rule::B14,
            "has a connectTime that is not whole seconds from 1 s to 65535 s",
            "{connectTime: 1500ms}",
            "{connectTime: 90s}",
            "whole seconds",
        )
    },
    &gone(
        Rule::B20,
        "has a bfdProfile: the native back-end has BFD",
        "{bfdProfile: fast}",
    ),
    &gone(
        Rule::B21,
        "has a keepaliveTime: the native back-end keeps to it",
        "{holdTime: 9s, keepaliveTime: 3s}",
    ),
    &gone(
        Rule::B22,
        "has vrf, connectTime, enableGracefulRestart, dualStackAddressFamily, dynamicASN, interface or localASN: the native back-end has them",
        "{vrf: red, connectTime: 10s, enableGracefulRestart: true, dualStackAddressFamily: true, localASN: 64999}",
    ),
    &gone(
        Rule::B23,
        "has disableMP, which has no effect any more (see W-1)",
        "{disableMP: true}",
    ),
    &Entry {
        backends: FRR_MODES,
        beside: &[object(
            BGP_PEER,
            "first",
            "{peerAddress: 10.0.0.7, routerID: 10.0.0.100}",
        )],
        ..peer(
            Rule::B30,
            "can be on a node with a peer of another routerID",
            "{routerID: 10.0.0.200}",
            "{routerID: 10.0.0.100}",
            "must have the same RouterID",
        )
    },
    &Entry {
        beside: &[FIRST],
        ..peer(
            Rule::B31,
            "can be on a node with a peer of the same address or interface, VRF and (native only) port",
            "{}",
            "{peerAddress: 10.0.0.2}",
            "already exists",
        )
    },
    &Entry {
        at: ADMITTED,
        beside: &[object(BGP_PEER, "first", "{peerAddress: 10.0.0.7}")],
        ..peer(
            Rule::B32,
            "can be on a node with a peer of another myASN in the same VRF; the scope is a setting: node, cluster, off",
            "{myASN: 64599}",
            "{myASN: 64599, vrf: red}",
            "myASN 64599 differs from 64500 of BGPPeer first",
        )
    },
    &Entry {
        at: WARNED,
        ..peer(
            Rule::W1,
            "sets disableMP, which is deprecated",
            "{disableMP: true}",
            "{disableMP: false}",
            "disableMP is deprecated and has no effect",
        )
    },
    &Entry {
        at: WARNED,
        beside: &[NODE],
        ..entry(
            Rule::W10,
            &[BGP_PEER, L2_ADVERTISEMENT, BGP_ADVERTISEMENT],
            "selects no Node",
            "{nodeSelectors: [{matchLabels: {rack: b}}]}",
            "{nodeSelectors: [{matchLabels: {rack: a}}]}",
            "no Node matches",
        )
    },
    &peer(
        Rule::W19,
        "has a time that is no duration",
        "{holdTime: '90'}",
        "{holdTime: 1m30s}",
        "invalid duration",
    ),
    &peer(
        Rule::W20,
        "has a holdTime above 0 and below 1 s, or above 65535 s, which the protocol cannot say",
        "{holdTime: 65536s}",
        "{holdTime: 65535s}",
        "must be at most 65535s",
    ),
    &peer(
        Rule::W22,
        "has an IPv6 routerID",
        "{routerID: 'fc00::1'}",
        "{routerID: 10.0.0.100}",
        "must be an IPv4 address",
    ),
    &peer(
        Rule::W25,
        "has a localASN equal to myASN or towards its own AS, a sourceAddress of another family than peerAddress, or ttlSecurity with ebgpMultiHop",
        "{localASN: 64500}",
        "{localASN: 64999}",
        "localASN must differ from myASN",
    ),
    &peer(
        Rule::W26,
        "has a vrf, interface or password that cannot be one: length, blanks, control characters",
        "{vrf: 'a b'}",
        "{vrf: red}",
        "invalid vrf name",
    ),
    &Entry {
        at: &[(Stage::Load, Effect::Warned)],
        beside: &[SECRET, BROKEN_LINE],
        ..peer(
            Rule::W29,
            "names a Secret whose password ends with a line break, which is cut off: one, and no other control character",
            "{passwordSecret: {name: line}}",
            "{passwordSecret: {name: tor}}",
            "the line break at the end of the password in Secret \"line\" is not used",
        )
    },
    &Entry {
        at: STRANDED,
        beside: &[object(BGP_ADVERTISEMENT, "to-new", "{peers: [new]}")],
        ..peer(
            Rule::D3,
            "is deleted while advertisements name it or Services are announced to it",
            "{}",
            "{metadata: {name: unused}, spec: {}}",
            "BGPAdvertisement to-new names it",
        )
    },
    &Entry {
        at: EVERYWHERE,
        ..entry(
            Rule::F1,
            &[BFD_PROFILE],
            "has a value out of range: intervals 10 to 60000, detectMultiplier 2 to 255, minimumTtl 1 to 254",
            "{receiveInterval: 9}",
            "{receiveInterval: 10}",
            "invalid value 9: must be in 10-60000 range",
        )
    },
    &Entry {
        at: &[(Stage::Deletion, Effect::Refused)],
        beside: &[object(BGP_PEER, "first", "{bfdProfile: new}")],
        ..entry(
            Rule::F2,
            &[BFD_PROFILE],
            "is deleted while peers name it",
            "{}",
            "{metadata: {name: unused}, spec: {}}",
            "failed to delete BFDProfile new, used by BGPPeer first",
        )
    },
    &Entry {
        at: GONE,
        backends: NATIVE,
        ..entry(
            Rule::F3,
            &[BFD_PROFILE],
            "exists: the native back-end has BFD",
            "{}",
            "{receiveInterval: 300}",
            "",
        )
    },
    &Entry {
        backends: FRR_MODES,
        at: NEWLY,
        beside: &[
            object(BFD_PROFILE, "echo", "{echoMode: true}"),
            object(IP_ADDRESS_POOL, "six", "{addresses: ['fc00::/120']}"),
            object(BGP_ADVERTISEMENT, "all", "{}"),
            FAST,
        ],
        ..entry(
            Rule::F4,
            &[BGP_PEER, BFD_PROFILE, IP_ADDRESS_POOL, ADDRESS_POOL, BGP_ADVERTISEMENT],
            "makes IPv6 addresses reach a peer whose BFD profile echoes",
            "{bfdProfile: echo}",
            "{bfdProfile: fast}",
            "bfd profile \"echo\" has echo enabled, which is not possible with the IPv6 addresses of pool \"six\"",
        )
    },
];
