//! BGP sessions, and the routes that their peers have been sent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bfd::Path;

/// A session, under `/bgp/sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The name of the BGPPeer.
    pub peer: String,
    /// The node of this end.
    pub node: String,
    /// Address and port of the peer, as in the metrics: `192.0.2.1:179`, `[fe80::1%eth0]:179`, or `eth0:179` for an
    /// unnumbered peer.
    pub remote: String,
    /// The address of this end, while there is a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// The device (VRF) that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Idle, Connect, Active, OpenSent, OpenConfirm or Established (RFC 4271 §8.2.2).
    pub state: String,
    /// Since when it is established, or not (RFC 3339).
    pub since: String,
    /// Why it is down; absent while it is established and before the first attempt has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether all routes are withdrawn because the node is drained.
    pub drained: bool,
    /// What went wrong last; it stays when the session comes up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// What both ends agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negotiated: Option<Negotiated>,
    /// How many messages and prefixes.
    pub counters: Counters,
    /// Its BFD, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<Path>,
    /// Prefixes that the peer should be sent, without those that cannot be.
    pub desired: u64,
    /// Prefixes that it has been sent.
    pub advertised: u64,
    /// Prefixes that it should be sent and cannot be.
    pub unsendable: u64,
}

/// What went wrong with a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// `received` or `sent`, if it was a NOTIFICATION.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// Its error code (RFC 4271 §4.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// Its error subcode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subcode: Option<u8>,
    /// A description for people.
    pub text: String,
    /// When it first happened in the current series of equal errors (RFC 3339).
    pub since: String,
    /// When it last happened (RFC 3339).
    pub at: String,
    /// How often it has happened in that series.
    pub count: u64,
}

/// What both ends of a session agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Negotiated {
    /// The address families whose routes are sent: `ipv4`, `ipv6`.
    pub families: Vec<String>,
    /// The address families whose routes should be sent and cannot be.
    pub lacking: Vec<Lacking>,
    /// The hold time in seconds; absent when it is zero, that is off (RFC 4271 §4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_seconds: Option<u64>,
    /// Seconds between two KEEPALIVEs; absent when the hold time is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_seconds: Option<u64>,
    /// The capabilities of both ends, such as `fourOctetAs`.
    pub capabilities: Vec<String>,
    /// The BGP identifier of this end.
    pub local_router_id: String,
    /// The BGP identifier of the peer.
    pub router_id: String,
    /// The AS of this end.
    pub local_as: u32,
    /// The AS of the peer.
    #[serde(rename = "as")]
    pub asn: u32,
}

/// An address family whose routes should be sent and cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Lacking {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Why not.
    pub why: String,
}

/// Messages since the session was configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// OPENs sent.
    pub opens_sent: u64,
    /// OPENs received.
    pub opens_received: u64,
    /// UPDATEs sent.
    pub updates_sent: u64,
    /// UPDATEs received.
    pub updates_received: u64,
    /// NOTIFICATIONs sent.
    pub notifications_sent: u64,
    /// NOTIFICATIONs received.
    pub notifications_received: u64,
    /// KEEPALIVEs sent.
    pub keepalives_sent: u64,
    /// KEEPALIVEs received.
    pub keepalives_received: u64,
    /// ROUTE-REFRESHes received.
    pub refreshes_received: u64,
}

/// A route that a peer has been sent, or should be, under `/bgp/routes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The name of the BGPPeer.
    pub peer: String,
    /// The prefix.
    pub prefix: String,
    /// The next hop; absent if the session does not carry the address family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<String>,
    /// The link-local address that goes along with it (RFC 2545 §3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop_link_local: Option<String>,
    /// AS numbers, the nearest first; empty on an internal session.
    pub as_path: Vec<u32>,
    /// `igp`.
    pub origin: String,
    /// LOCAL_PREF; on internal sessions only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// As `65000:100` (RFC 1997).
    pub communities: Vec<String>,
    /// As `65000:1:2` (RFC 8092).
    pub large_communities: Vec<String>,
    /// `advertised`, `pending` (not sent yet, or sent with other attributes) or `unsendable`.
    pub state: String,
    /// Why it cannot be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
