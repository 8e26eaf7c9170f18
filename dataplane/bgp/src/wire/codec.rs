//! The negotiated codec, and the type of all messages.

use bytes::Bytes;

use super::{
    Capability, DecodeError, EncodeError, Family, Frame, Framer, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, MessageType,
    Notification, Open, RouteRefresh, Update, header,
};

/// One BGP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// OPEN, type 1.
    Open(Open),
    /// UPDATE, type 2.
    Update(Update),
    /// NOTIFICATION, type 3.
    Notification(Notification),
    /// KEEPALIVE, type 4.
    Keepalive,
    /// ROUTE-REFRESH, type 5.
    RouteRefresh(RouteRefresh),
}

impl Message {
    /// Returns the type of the message.
    pub fn kind(&self) -> MessageType {
        match self {
            Self::Open(_) => MessageType::Open,
            Self::Update(_) => MessageType::Update,
            Self::Notification(_) => MessageType::Notification,
            Self::Keepalive => MessageType::Keepalive,
            Self::RouteRefresh(_) => MessageType::RouteRefresh,
        }
    }
}

/// What two speakers agreed on, as far as the encoding depends on it.
///
/// The default is the state before the OPENs: 2-octet AS numbers, IPv4 unicast, 4096 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    /// AS paths have 4-octet numbers (RFC 6793).
    pub as4: bool,
    /// Messages may have 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// IPv4 unicast routes may be sent.
    pub ipv4: bool,
    /// IPv6 unicast routes may be sent.
    pub ipv6: bool,
    /// IPv4 routes may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// A table that is sent again has a begin and an end (RFC 7313).
    pub enhanced_refresh: bool,
}

impl Default for Codec {
    fn default() -> Self {
        Self {
            as4: false,
            extended_message: false,
            ipv4: true,
            ipv6: false,
            extended_next_hop: false,
            enhanced_refresh: false,
        }
    }
}

impl Codec {
    /// Returns what both lists of capabilities have in common.
    pub fn negotiate(ours: &[Capability], theirs: &[Capability]) -> Self {
        let both = |test: fn(&Capability) -> bool| ours.iter().any(test) && theirs.iter().any(test);
        let carries = |capabilities: &[Capability], family| {
            let mut families = capabilities.iter().filter_map(Capability::family).peekable();
            // RFC 4760 §8: a speaker that names no family at all means IPv4 unicast.
            (families.peek().is_none() && family == Family::IPV4_UNICAST) || families.any(|other| other == family)
        };
        Self {
            as4: both(|capability| matches!(capability, Capability::FourOctetAsn(_))),
            extended_message: both(|capability| matches!(capability, Capability::ExtendedMessage)),
            ipv4: carries(ours, Family::IPV4_UNICAST) && carries(theirs, Family::IPV4_UNICAST),
            ipv6: carries(ours, Family::IPV6_UNICAST) && carries(theirs, Family::IPV6_UNICAST),
            extended_next_hop: both(Capability::allows_ipv4_over_ipv6),
            enhanced_refresh: both(|capability| matches!(capability, Capability::EnhancedRouteRefresh)),
        }
    }

    /// Tells whether routes of this family may be sent.
    pub fn carries(&self, family: Family) -> bool {
        match family {
            Family::IPV4_UNICAST => self.ipv4,
            Family::IPV6_UNICAST => self.ipv6,
            _ => false,
        }
    }

    /// Returns the length that an UPDATE may have.
    pub fn max_message(&self) -> usize {
        if self.extended_message {
            MAX_EXTENDED_MESSAGE
        } else {
            MAX_MESSAGE
        }
    }

    /// Puts a message into bytes, header included.
    ///
    /// # Errors
    /// When the message is longer than negotiated.
    pub fn encode(&self, message: &Message) -> Result<Bytes, EncodeError> {
        let mut out = header::start(message.kind());
        match message {
            Message::Open(open) => open.encode(&mut out),
            Message::Update(update) => update.encode(&mut out, self),
            Message::Notification(notification) => notification.encode(&mut out),
            Message::Keepalive => {}
            Message::RouteRefresh(refresh) => refresh.encode(&mut out),
        }
        let max = match message.kind() {
            MessageType::Open | MessageType::Keepalive => MAX_MESSAGE,
            _ => self.max_message(),
        };
        let length = out.len();
        if length > max {
            return Err(EncodeError::TooLong { length, max });
        }
        header::finish(out).ok_or(EncodeError::TooLong { length, max })
    }

    /// Reads one message as the [`Framer`] cut it out.
    ///
    /// # Errors
    /// When the message is malformed; the error names the NOTIFICATION that answers it.
    pub fn decode(&self, frame: &Frame) -> Result<Message, DecodeError> {
        Ok(match frame.kind {
            MessageType::Open => Message::Open(Open::decode(&frame.body)?),
            MessageType::Update => Message::Update(Update::decode(&frame.body, self)?),
            MessageType::Notification => Message::Notification(Notification::decode(&frame.body)?),
            MessageType::Keepalive => Message::Keepalive,
            MessageType::RouteRefresh => Message::RouteRefresh(RouteRefresh::decode(&frame.body, self)?),
        })
    }

    /// Reads every message in `bytes`, which start and end at a message.
    ///
    /// # Errors
    /// As [`Codec::decode`]; trailing bytes that are no message are ignored.
    pub fn decode_all(&self, bytes: &[u8]) -> Result<Vec<Message>, DecodeError> {
        let mut framer = Framer::default();
        framer.push(bytes);
        let mut messages = Vec::new();
        while let Some(frame) = framer.next(self.extended_message)? {
            messages.push(self.decode(&frame)?);
        }
        Ok(messages)
    }
}
