//! What `explain` tells, above all of a Service, as JSON and as text have it.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::sent;

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body<T> {
    pub(crate) explanation: T,
}

/// Everything there is to say about a Service.
#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub(crate) service: String,
    /// Traffic policy, families and ports in short.
    pub(crate) summary: String,
    pub(crate) verdict: String,
    /// Whether it is known who should announce it, or need not be.
    pub(crate) known: bool,
    pub(crate) ours: Ours,
    pub(crate) asked: Asked,
    pub(crate) address: Address,
    /// The pools as they would be asked today.
    pub(crate) trials: Vec<Trial>,
    pub(crate) clashes: Vec<Clash>,
    /// None if EndpointSlices are not known.
    pub(crate) endpoints: Option<Serving>,
    pub(crate) layer2: Layer2,
    pub(crate) bgp: Bgp,
}

#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ours {
    pub(crate) is_ours: bool,
    pub(crate) class: String,
    pub(crate) our_class: String,
}

/// What the Service asks for.
#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    pub(crate) families: String,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) pool: Option<String>,
    pub(crate) key: Option<String>,
    /// What of it is not understood.
    pub(crate) error: Option<String>,
}

/// What the Service has, and what the controller makes of it.
#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) pool: Option<String>,
    /// What it is to have; the same as it has if all is well.
    pub(crate) due: Vec<IpAddr>,
    pub(crate) due_pool: Option<String>,
    /// Reason and message of the condition `metallb.io/Allocated` as they are to be.
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trial {
    pub(crate) pool: String,
    /// 1 for the first one asked; none for those that are not.
    pub(crate) tried: Option<usize>,
    pub(crate) priority: Option<i64>,
    pub(crate) ok: bool,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) text: String,
}

/// An address that others are on, and in what the Service agrees with them.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Clash {
    pub(crate) ip: IpAddr,
    pub(crate) services: Vec<String>,
    pub(crate) own_key: Option<String>,
    pub(crate) their_key: Option<String>,
    pub(crate) same_backend: bool,
    /// Ports that both want.
    pub(crate) ports: Vec<String>,
}

#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Serving {
    pub(crate) any: bool,
    pub(crate) nodes: Vec<String>,
    pub(crate) local: bool,
}

#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layer2 {
    pub(crate) advertisements: Vec<String>,
    /// Why no node answers, in the words of the log.
    pub(crate) reason: Option<String>,
    pub(crate) ranked: Vec<Rank>,
    pub(crate) out: Vec<OutOf>,
    pub(crate) decided: Option<String>,
    /// The nodes that say they answer; absent if no speaker has said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<Vec<Answering>>,
}

/// A node that says it answers for an address.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answering {
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) address: metallb_inspect::layer2::Address,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rank {
    pub(crate) node: String,
    pub(crate) hash: String,
    pub(crate) score: i64,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutOf {
    pub(crate) node: String,
    pub(crate) reason: String,
}

#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bgp {
    pub(crate) advertisements: Vec<String>,
    /// Why no node announces, in the words of the log.
    pub(crate) reason: Option<String>,
    pub(crate) rows: Vec<Told>,
    /// What speakers have said of it.
    #[serde(skip)]
    pub(crate) told: Vec<Heard>,
}

/// What a speaker has said of a route.
pub(crate) struct Heard {
    pub(crate) node: String,
    pub(crate) peer: String,
    pub(crate) prefix: String,
    pub(crate) told: sent::Told,
}

/// What some nodes tell some peers.
#[derive(PartialEq, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    pub(crate) nodes: Vec<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) routes: Vec<String>,
    /// Why nothing, if so.
    pub(crate) reason: Option<String>,
    /// Whether all of it was sent, and why not; none if no speaker was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<String>,
}

impl Told {
    /// Everything but the nodes.
    pub(crate) fn says(&self) -> impl PartialEq + use<'_> {
        (&self.peers, &self.routes, &self.reason, &self.sent)
    }
}
