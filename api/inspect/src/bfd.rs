//! BFD sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A BFD session, under `/bfd` and with the BGP session that it guards.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Path {
    /// The address of the peer; a link-local one with its interface, as in `fe80::1%eth0`.
    pub peer: String,
    /// The device (VRF) that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Whether there may be routers in between (RFC 5883).
    pub multihop: bool,
    /// `up`, `down`, `init` or `shutdown`.
    pub state: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// The diagnostic of its last change of state (RFC 5880 §4.1).
    pub diag: String,
    /// The state of the peer's end.
    pub remote_state: String,
    /// The diagnostic of the peer's end.
    pub remote_diag: String,
    /// The local discriminator.
    pub local_disc: u32,
    /// The peer's discriminator; zero while it is not known.
    pub remote_disc: u32,
    /// How often packets go out.
    pub intervals: Intervals,
    /// The silence after which the session is down, in milliseconds; absent before the peer is heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect_ms: Option<u64>,
    /// How often the path failed.
    pub failures: u64,
    /// Why this node cannot send or receive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The BGPPeers whose sessions end with it.
    pub guards: Vec<String>,
}

/// How often packets go out, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intervals {
    /// The longest time between two control packets.
    pub transmit_ms: u64,
    /// The time between two echoes, if any are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_ms: Option<u64>,
}
