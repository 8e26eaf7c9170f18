//! What is desired, and the spec made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use metallb_api::frr_configuration::{
    FrrAdvertise, FrrAllowedOut, FrrBfdProfile, FrrBgp, FrrCommunityPrefixes, FrrLocalPrefPrefixes, FrrNeighbor,
    FrrRouter,
};
use metallb_api::names::LABEL_HOSTNAME;
use metallb_api::{DynamicAsn, FRRConfigurationSpec, GoDuration, Password, SecretReference};
use metallb_frr::{Attributes, BfdProfile, Endpoint, Neighbour, RemoteAs, Router};

use crate::limits;

/// Everything that frr-k8s is to do on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Sessions with other routers, in any order. Of two with one neighbour in one VRF the first describes the session.
    pub sessions: Vec<Session>,
    /// All BFD profiles, used or not, in any order.
    pub bfd_profiles: Vec<BfdProfile>,
}

/// One session, and what only frr-k8s wants to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The name of the BGPPeer, for people.
    pub peer: String,
    /// The session.
    pub session: metallb_frr::Session,
    /// The Secret with the password, which frr-k8s reads by itself; not beside a password.
    pub secret: Option<SecretReference>,
}

/// The spec, and what it does not do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Made {
    /// `None` if there is no session at all: then there should be no object.
    pub spec: Option<FRRConfigurationSpec>,
    /// What is not in effect as written, one sentence each.
    pub errors: Vec<String>,
    /// What is in use and does something else than it says, one sentence each.
    pub doubts: Vec<String>,
}

/// FRR's defaults, RFC 5880 knows none: milliseconds, and packets that may be missed.
const BFD_INTERVAL: Duration = Duration::from_millis(300);
const BFD_ECHO_INTERVAL: Duration = Duration::from_millis(50);
const BFD_MULTIPLIER: u8 = 3;

/// Makes the spec for the node with the label `kubernetes.io/hostname` of this value.
pub fn spec(hostname: &str, desired: &Desired) -> Made {
    let mut made = Made::default();
    // In the order of upstream's keys, which are texts.
    let mut routers: BTreeMap<String, (FrrRouter, BTreeMap<String, FrrNeighbor>)> = BTreeMap::new();
    for known in merged(&desired.sessions) {
        let Session { peer, session, secret } = known.first;
        if let Some(why) = limits::obstacle(&session.neighbour) {
            made.errors.push(format!("BGPPeer {peer}: {why}, there is no session"));
            continue;
        }
        let mut doubts = limits::doubts(&session.neighbour);
        let told = told(&known.routes);
        if told.is_clamped {
            doubts.push(limits::local_pref_doubt());
        }
        made.doubts
            .extend(doubts.into_iter().map(|doubt| format!("BGPPeer {peer}: {doubt}")));
        let (router, neighbors) = routers
            .entry(router_key(&session.router))
            .or_insert_with(|| (self::router(&session.router), BTreeMap::new()));
        router.prefixes.extend(known.routes.keys().cloned());
        let neighbor = neighbor(&session.neighbour, secret.clone(), told.advertise);
        neighbors.insert(neighbor_key(session), neighbor);
    }
    if routers.is_empty() {
        return made;
    }
    let mut profiles: Vec<_> = desired.bfd_profiles.iter().map(profile).collect();
    profiles.sort_by(|one, other| one.name.cmp(&other.name));
    let routers = routers.into_values().map(|(router, neighbors)| FrrRouter {
        neighbors: neighbors.into_values().collect(),
        prefixes: router
            .prefixes
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        ..router
    });
    made.spec = Some(FRRConfigurationSpec {
        bgp: Some(FrrBgp {
            bfd_profiles: profiles,
            routers: routers.collect(),
        }),
        node_selector: Some(LabelSelector {
            match_labels: Some([(LABEL_HOSTNAME.to_owned(), hostname.to_owned())].into()),
            ..LabelSelector::default()
        }),
        raw: None,
    });
    made
}

/// A neighbour of one VRF: the session that describes it, and what it is told by all, by the texts of the prefixes.
struct Known<'a> {
    first: &'a Session,
    routes: BTreeMap<String, Attributes>,
}

fn merged(sessions: &[Session]) -> Vec<Known<'_>> {
    let mut known: Vec<Known<'_>> = Vec::new();
    for session in sessions {
        let place = |session: &Session| {
            (
                session.session.router.vrf.clone(),
                session.session.neighbour.endpoint.to_string(),
            )
        };
        let index = known.iter().position(|known| place(known.first) == place(session));
        let index = index.unwrap_or_else(|| {
            known.push(Known {
                first: session,
                routes: BTreeMap::new(),
            });
            known.len() - 1
        });
        let neighbour = &known[index].first.session.neighbour;
        let carried = session
            .session
            .routes
            .iter()
            .filter(|(prefix, _)| neighbour.carries(**prefix));
        for (prefix, attributes) in carried {
            known[index]
                .routes
                .entry(prefix.trunc().to_string())
                .or_default()
                .merge(attributes);
        }
    }
    known
}

fn router_key(router: &Router) -> String {
    let id = router.id.map_or_else(|| "<nil>".to_owned(), |id| id.to_string());
    let vrf = router.vrf.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{}@{id}@{vrf}", router.asn)
}

fn neighbor_key(session: &metallb_frr::Session) -> String {
    let Neighbour {
        remote,
        endpoint,
        source,
        ..
    } = &session.neighbour;
    let source = source.map(|source| source.to_string()).unwrap_or_default();
    let vrf = session
        .router
        .vrf
        .as_ref()
        .map(|vrf| format!("/{vrf}"))
        .unwrap_or_default();
    format!("{remote}@{endpoint}-{}@{source}{vrf}", session.router.asn)
}

fn router(router: &Router) -> FrrRouter {
    FrrRouter {
        asn: router.asn.into(),
        id: router.id.map(|id| id.to_string()),
        vrf: router.vrf.as_ref().map(ToString::to_string),
        ..FrrRouter::default()
    }
}

fn neighbor(neighbour: &Neighbour, secret: Option<SecretReference>, told: FrrAdvertise) -> FrrNeighbor {
    let (address, interface) = match &neighbour.endpoint {
        Endpoint::Address(address) => (Some(address.to_string()), None),
        Endpoint::Interface(device) => (None, Some(device.to_string())),
    };
    let (asn, dynamic_asn) = match neighbour.remote {
        RemoteAs::Asn(asn) => (Some(asn.into()), None),
        RemoteAs::Internal => (None, Some(DynamicAsn::Internal)),
        RemoteAs::External => (None, Some(DynamicAsn::External)),
    };
    FrrNeighbor {
        address,
        asn,
        bfd_profile: neighbour.bfd_profile.as_ref().map(ToString::to_string),
        connect_time: neighbour.connect.map(seconds),
        dual_stack_address_family: yes(neighbour.dual_stack),
        dynamic_asn,
        ebgp_multi_hop: yes(neighbour.ebgp_multihop),
        enable_graceful_restart: yes(neighbour.graceful_restart),
        hold_time: neighbour.timers.map(|timers| seconds(timers.hold)),
        interface,
        keepalive_time: neighbour.timers.map(|timers| seconds(timers.keepalive)),
        local_asn: neighbour.local_asn.map(Into::into),
        password: neighbour
            .password
            .as_ref()
            .map(|password| Password::new(password.expose())),
        password_secret: secret,
        port: Some(neighbour.port.into()),
        source_address: neighbour.source.map(|source| source.to_string()),
        to_advertise: Some(told),
        // Nothing is received unless a user's own FRRConfiguration says so, and nothing of a later frr-k8s is asked for.
        ..FrrNeighbor::default()
    }
}

/// What is false is left out, as upstream's program does.
fn yes(flag: bool) -> Option<bool> {
    flag.then_some(true)
}

fn seconds(count: u16) -> GoDuration {
    Duration::from_secs(count.into()).into()
}

struct Told {
    advertise: FrrAdvertise,
    /// Whether a local preference was too great.
    is_clamped: bool,
}

fn told(routes: &BTreeMap<String, Attributes>) -> Told {
    let mut by_preference: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut by_community: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut is_clamped = false;
    for (prefix, attributes) in routes {
        if attributes.local_pref != 0 {
            let (preference, clamped) = limits::local_pref(attributes.local_pref);
            is_clamped |= clamped;
            by_preference.entry(preference).or_default().push(prefix.clone());
        }
        for community in &attributes.communities {
            by_community
                .entry(community.to_string())
                .or_default()
                .push(prefix.clone());
        }
    }
    let preferences = by_preference
        .into_iter()
        .map(|(preference, prefixes)| FrrLocalPrefPrefixes {
            local_pref: Some(preference.into()),
            prefixes,
        });
    let communities = by_community
        .into_iter()
        .map(|(community, prefixes)| FrrCommunityPrefixes {
            community: Some(community),
            prefixes,
        });
    Told {
        advertise: FrrAdvertise {
            allowed: Some(FrrAllowedOut {
                mode: None,
                prefixes: routes.keys().cloned().collect(),
            }),
            with_community: communities.collect(),
            with_local_pref: preferences.collect(),
        },
        is_clamped,
    }
}

/// What is FRR's default is left out: a user may have the same profile in a FRRConfiguration, and frr-k8s takes two of one
/// name that differ in a default for a contradiction.
fn profile(profile: &BfdProfile) -> FrrBfdProfile {
    let interval = |interval: Option<Duration>, usual| {
        let milliseconds = interval.filter(|interval| *interval != usual)?.as_millis();
        i64::try_from(milliseconds).ok()
    };
    FrrBfdProfile {
        detect_multiplier: profile
            .detect_multiplier
            .filter(|it| *it != BFD_MULTIPLIER)
            .map(Into::into),
        echo_interval: interval(profile.echo_interval, BFD_ECHO_INTERVAL),
        echo_mode: Some(profile.echo_mode),
        minimum_ttl: profile.minimum_ttl.map(Into::into),
        name: profile.name.to_string(),
        passive_mode: Some(profile.passive_mode),
        receive_interval: interval(profile.receive_interval, BFD_INTERVAL),
        transmit_interval: interval(profile.transmit_interval, BFD_INTERVAL),
    }
}
