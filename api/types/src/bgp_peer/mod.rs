//! BGPPeer: a router to talk to, in both served versions.

pub mod v1beta1;
pub mod v1beta2;

/// The largest AS number, RFC 6793.
pub const MAX_ASN: i64 = 4_294_967_295;

/// The TCP port of BGP, RFC 4271 §8.2.1.
pub const DEFAULT_PORT: u16 = 179;
