//! Why packets are discarded.

/// Why a packet was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// Less than 24 octets.
    #[error("too short")]
    TooShort,
    /// Not version 1.
    #[error("unknown version")]
    Version,
    /// The length it names is less than 24, or more than there is.
    #[error("wrong length")]
    Length,
    /// The detection multiplier is zero.
    #[error("detection multiplier of zero")]
    Multiplier,
    /// The multipoint bit is set.
    #[error("multipoint")]
    Multipoint,
    /// The sender does not name its session.
    #[error("my discriminator is zero")]
    MyDiscriminator,
    /// The sender does not name our session, although its own is beyond Down.
    #[error("your discriminator is zero although the state is beyond Down")]
    YourDiscriminator,
    /// It has an authentication section, which no session has.
    #[error("authenticated")]
    Authentication,
    /// The TTL is not 255 over one hop, or less than the least over several.
    #[error("TTL too low")]
    Ttl,
    /// There is no session of that discriminator.
    #[error("unknown discriminator")]
    Discriminator,
    /// There is no session with that peer.
    #[error("unknown peer")]
    Peer,
    /// It came to the port of the other kind of session, over one hop or several.
    #[error("wrong port for the session")]
    Port,
    /// It came from an interface or VRF that is not the session's.
    #[error("wrong interface for the session")]
    Interface,
    /// The session is administratively down.
    #[error("session is administratively down")]
    AdminDown,
    /// An echo that no session waits for.
    #[error("unknown echo")]
    Echo,
}

impl Refusal {
    /// The reason as a label of a metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::Version => "version",
            Self::Length => "length",
            Self::Multiplier => "multiplier",
            Self::Multipoint => "multipoint",
            Self::MyDiscriminator => "my_discriminator",
            Self::YourDiscriminator => "your_discriminator",
            Self::Authentication => "authentication",
            Self::Ttl => "ttl",
            Self::Discriminator => "unknown_discriminator",
            Self::Peer => "unknown_peer",
            Self::Port => "port",
            Self::Interface => "interface",
            Self::AdminDown => "admin_down",
            Self::Echo => "unknown_echo",
        }
    }
}
