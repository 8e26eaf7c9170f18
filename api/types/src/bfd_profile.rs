//! BFDProfile: timers of bidirectional forwarding detection.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{
    schema::{EmptyStatus, int32, is_false},
    spec::optional_spec,
};

/// The settings of a BFD session.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BFDProfile",
    namespaced,
    status = "EmptyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "BFDProfile is a set of BFD settings that BGPPeers refer to.",
    printcolumn(name = "Passive Mode", type_ = "boolean", json_path = ".spec.passiveMode"),
    printcolumn(name = "Transmit Interval", type_ = "integer", json_path = ".spec.transmitInterval"),
    printcolumn(name = "Receive Interval", type_ = "integer", json_path = ".spec.receiveInterval"),
    printcolumn(name = "Multiplier", type_ = "integer", json_path = ".spec.detectMultiplier")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct BFDProfileSpec {
    /// The shortest interval at which we can receive packets, in milliseconds; 300 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 10, max = 60_000))]
    #[schemars(transform = int32)]
    pub receive_interval: Option<i64>,

    /// The shortest interval at which we want to send packets, in milliseconds; 300 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 10, max = 60_000))]
    #[schemars(transform = int32)]
    pub transmit_interval: Option<i64>,

    /// How many packets in a row must be lost for the session to fail; 3 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 2, max = 255))]
    #[schemars(transform = int32)]
    pub detect_multiplier: Option<i64>,

    /// The interval of echo packets, in milliseconds; 50 when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 10, max = 60_000))]
    #[schemars(transform = int32)]
    pub echo_interval: Option<i64>,

    /// Whether echo packets are used. Not over several hops.
    #[serde(default, skip_serializing_if = "is_false")]
    pub echo_mode: bool,

    /// Whether we wait for the peer to start the session.
    #[serde(default, skip_serializing_if = "is_false")]
    pub passive_mode: bool,

    /// The least TTL of packets accepted over several hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[validate(range(min = 1, max = 254))]
    #[schemars(transform = int32)]
    pub minimum_ttl: Option<i64>,
}
optional_spec!(BFDProfileSpec);
