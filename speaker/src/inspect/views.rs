//! Turns the state of the data plane into answers. Passwords and keys are never part of it.

use std::time::Duration;

use metallb_dataplane::bfd::{self, Hops, SessionKey};
use metallb_dataplane::bgp::{
    self, Direction, Family, Listed, MessageType, NextHop, Reach, SessionState, Trouble, View,
};
use metallb_inspect::bfd::{Intervals, Path};
use metallb_inspect::bgp::{Counters, Lacking, LastError, Negotiated, Route, Session};

use crate::bfd::peer_name;
use crate::sessions::{Source, bfd_state, family_name, rfc3339};

/// The BFD session that guards a peer.
pub(super) fn path_of(source: &Source, peer: &str) -> Option<Path> {
    let key = source.guarded.borrow().get(peer).cloned()?;
    let state = source.paths.borrow().get(&key).cloned()?;
    Some(path(source, &key, &state))
}

/// All BFD sessions.
pub(super) fn paths(source: &Source) -> Vec<Path> {
    let paths = source.paths.borrow().clone();
    paths.iter().map(|(key, state)| path(source, key, state)).collect()
}

fn path(source: &Source, key: &SessionKey, state: &bfd::SessionState) -> Path {
    let status = &state.status;
    let guarded = source.guarded.borrow();
    let guards = guarded.iter().filter(|(_, guard)| *guard == key);
    Path {
        peer: peer_name(key),
        device: key.device.clone(),
        multihop: key.hops == Hops::Multi,
        state: bfd_state(status.state).to_owned(),
        since: rfc3339(source.wall(status.since)),
        diag: status.diagnostic.to_string(),
        remote_state: bfd_state(status.remote_state).to_owned(),
        remote_diag: status.remote_diagnostic.to_string(),
        local_disc: status.local_discriminator,
        remote_disc: status.remote_discriminator,
        intervals: Intervals {
            transmit_ms: millis(status.transmit_interval),
            echo_ms: status.echo_interval.map(millis),
        },
        detect_ms: status.detection_time.map(millis),
        failures: state.failures,
        error: state.error.clone(),
        guards: guards.map(|(peer, _)| peer.clone()).collect(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A session, with the view that its task gives; between two attempts a session has no task.
pub(super) fn session(
    node: &str,
    peer: &str,
    session: &SessionState,
    view: Option<&View>,
    bfd: Option<Path>,
) -> Session {
    let negotiated = view.and_then(|view| view.negotiated.as_ref());
    Session {
        peer: peer.to_owned(),
        node: node.to_owned(),
        remote: session.label(),
        local: negotiated.map(|agreed| agreed.local.to_string()),
        device: session.device.clone(),
        state: view.map_or_else(|| "Idle".to_owned(), |view| view.state.to_string()),
        since: rfc3339(session.since),
        reason: session.reason.clone(),
        drained: view.is_some_and(|view| view.drained),
        last_error: session.trouble.as_ref().map(last_error),
        negotiated: negotiated.map(agreed),
        counters: counters(&session.counters),
        bfd,
        desired: session.counters.desired(),
        advertised: session.counters.advertised(),
        unsendable: session.counters.unsendable(),
    }
}

fn last_error(trouble: &Trouble) -> LastError {
    let direction = trouble.direction.map(|direction| match direction {
        Direction::Received => "received".to_owned(),
        Direction::Sent => "sent".to_owned(),
    });
    LastError {
        direction,
        code: trouble.code.map(|(code, _)| code),
        subcode: trouble.code.map(|(_, subcode)| subcode),
        text: trouble.text.clone(),
        since: rfc3339(trouble.since),
        at: rfc3339(trouble.at),
        count: trouble.count,
    }
}

fn agreed(agreed: &bgp::Negotiated) -> Negotiated {
    let (egress, codec) = (&agreed.egress, &agreed.egress.codec);
    let capabilities = [
        ("multiprotocolIPv4", codec.ipv4),
        ("multiprotocolIPv6", codec.ipv6),
        ("fourOctetAs", codec.as4),
        ("extendedMessage", codec.extended_message),
        ("extendedNextHop", codec.extended_next_hop),
    ];
    let capabilities = capabilities.into_iter().filter(|(_, agreed)| *agreed);
    let lacking = egress.next_hops.lacking().into_iter().map(|family| Lacking {
        family: family_name(family).to_owned(),
        why: why(egress.next_hops.of(family)).unwrap_or_default().to_owned(),
    });
    Negotiated {
        families: egress
            .next_hops
            .carried()
            .into_iter()
            .map(|family| family_name(family).to_owned())
            .collect(),
        lacking: lacking.collect(),
        hold_seconds: agreed.hold_time.map(|time| time.as_secs()),
        keepalive_seconds: agreed.keepalive_time.map(|time| time.as_secs()),
        capabilities: capabilities.map(|(name, _)| name.to_owned()).collect(),
        local_router_id: agreed.router_id.to_string(),
        router_id: agreed.remote_router_id.to_string(),
        local_as: egress.asn,
        asn: agreed.remote_asn,
    }
}

/// Why routes of a family are not sent.
fn why(reach: Reach) -> Option<&'static str> {
    match reach {
        Reach::Via(_) => None,
        Reach::NotWanted => Some("the session is not for this address family"),
        Reach::NotOffered => Some("the peer does not offer this address family"),
        Reach::NoNextHop => Some("this node has no address of this family to use as next hop"),
    }
}

fn counters(counters: &bgp::Counters) -> Counters {
    Counters {
        opens_sent: counters.sent(MessageType::Open),
        opens_received: counters.received(MessageType::Open),
        updates_sent: counters.sent(MessageType::Update),
        updates_received: counters.received(MessageType::Update),
        notifications_sent: counters.sent(MessageType::Notification),
        notifications_received: counters.received(MessageType::Notification),
        keepalives_sent: counters.sent(MessageType::Keepalive),
        keepalives_received: counters.received(MessageType::Keepalive),
        refreshes_received: counters.received(MessageType::RouteRefresh),
    }
}

/// A route, with its attributes as they are sent, or would be.
pub(super) fn route(peer: &str, view: &View, listed: &Listed) -> Route {
    let egress = view.negotiated.as_ref().map(|agreed| &agreed.egress);
    let reach = egress.map(|egress| egress.next_hops.of(Family::of(listed.prefix.addr())));
    let (next_hop, next_hop_link_local) = match reach {
        Some(Reach::Via(NextHop::V4(address))) => (Some(address.to_string()), None),
        Some(Reach::Via(NextHop::V6(address))) => (Some(address.to_string()), None),
        Some(Reach::Via(NextHop::V6Pair(global, link_local))) => {
            (Some(global.to_string()), Some(link_local.to_string()))
        }
        _ => (None, None),
    };
    let refused = reach.and_then(why);
    let refused = refused.or_else(|| {
        listed
            .oversized
            .then_some("its attributes do not fit into a BGP message")
    });
    let (state, why) = if listed.advertised.is_some() && listed.advertised == listed.desired {
        ("advertised", None)
    } else if refused.is_some() && listed.desired.is_some() {
        ("unsendable", refused)
    } else {
        ("pending", None)
    };
    let attributes = listed.advertised.as_deref().or(listed.desired.as_deref());
    let internal = egress.is_some_and(|egress| egress.internal);
    let as_path = egress.filter(|egress| !egress.internal).map(|egress| egress.asn);
    let communities = attributes.iter().flat_map(|attributes| &attributes.communities);
    let large = attributes.iter().flat_map(|attributes| &attributes.large_communities);
    Route {
        peer: peer.to_owned(),
        prefix: listed.prefix.to_string(),
        next_hop,
        next_hop_link_local,
        as_path: as_path.into_iter().collect(),
        origin: "igp".to_owned(),
        local_pref: attributes.filter(|_| internal).map(|attributes| attributes.local_pref),
        communities: communities
            .map(|value| format!("{}:{}", value >> 16, value & 0xffff))
            .collect(),
        large_communities: large
            .map(|large| format!("{}:{}:{}", large.global, large.data1, large.data2))
            .collect(),
        state: state.to_owned(),
        why: why.map(ToOwned::to_owned),
    }
}
