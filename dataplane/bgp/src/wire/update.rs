//! UPDATE (RFC 4271 §4.3).
//!
//! ```text
//! +-------------------------------+-------------------------------+
//! |   Withdrawn routes length     |  Withdrawn routes (IPv4)
//! +-------------------------------+-------------------------------+
//! |   Total attributes length     |  Path attributes
//! +-------------------------------+-------------------------------+
//! |   Announced prefixes (IPv4) to the end of the message
//! +---------------------------------------------------------------
//! ```

use ipnet::{IpNet, Ipv4Net};

use super::{Attribute, Codec, Family, MpReach, MpUnreach, UpdateError, nlri, reader::Reader};

/// An UPDATE message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Lists IPv4 prefixes that are gone.
    pub withdrawn: Vec<Ipv4Net>,
    /// Describes the announced prefixes, in the order of the message.
    pub attributes: Vec<Attribute>,
    /// Lists IPv4 prefixes that share the attributes.
    pub announced: Vec<Ipv4Net>,
}

impl Update {
    /// Makes End-of-RIB, which marks the initial table as complete (RFC 4724 §2).
    pub fn end_of_rib(family: Family) -> Self {
        match family {
            Family::IPV4_UNICAST => Self::default(),
            family => {
                let unreach = MpUnreach {
                    family,
                    withdrawn: Vec::new(),
                };
                Self {
                    attributes: vec![Attribute::MpUnreach(unreach)],
                    ..Self::default()
                }
            }
        }
    }

    /// Returns the family whose initial table this message declares complete.
    pub fn ends_rib_of(&self) -> Option<Family> {
        match (&self.withdrawn[..], &self.attributes[..], &self.announced[..]) {
            ([], [], []) => Some(Family::IPV4_UNICAST),
            ([], [Attribute::MpUnreach(unreach)], []) if unreach.withdrawn.is_empty() => Some(unreach.family),
            _ => None,
        }
    }

    /// Tells whether an attribute is malformed, so that the announced routes count as withdrawn (RFC 7606 §2).
    pub fn treat_as_withdraw(&self) -> bool {
        self.attributes
            .iter()
            .any(|attribute| matches!(attribute, Attribute::Malformed { .. }))
    }

    /// Lists what is announced, in whichever place of the message.
    pub fn all_announced(&self) -> impl Iterator<Item = IpNet> {
        let multiprotocol = self
            .mp_reach()
            .into_iter()
            .flat_map(|reach| reach.announced.iter().copied());
        self.announced.iter().copied().map(IpNet::from).chain(multiprotocol)
    }

    /// Lists what is withdrawn, in whichever place of the message.
    pub fn all_withdrawn(&self) -> impl Iterator<Item = IpNet> {
        let multiprotocol = self.attributes.iter().find_map(|attribute| match attribute {
            Attribute::MpUnreach(unreach) => Some(unreach.withdrawn.iter().copied()),
            _ => None,
        });
        self.withdrawn
            .iter()
            .copied()
            .map(IpNet::from)
            .chain(multiprotocol.into_iter().flatten())
    }

    /// Returns the multiprotocol announcement, if any.
    pub fn mp_reach(&self) -> Option<&MpReach> {
        self.attributes.iter().find_map(|attribute| match attribute {
            Attribute::MpReach(reach) => Some(reach),
            _ => None,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>, codec: &Codec) {
        counted(out, |out| {
            self.withdrawn
                .iter()
                .for_each(|prefix| nlri::encode(out, &(*prefix).into()));
        });
        counted(out, |out| {
            self.attributes
                .iter()
                .for_each(|attribute| attribute.encode(out, codec));
        });
        self.announced
            .iter()
            .for_each(|prefix| nlri::encode(out, &(*prefix).into()));
    }

    /// Checks the lengths and prefixes of a received message. Nothing else matters for routes that are not kept: a malformed
    /// attribute would only withdraw them (RFC 7606 §2, §5.3). Allocates nothing.
    ///
    /// # Errors
    /// When the parts cannot be told apart, as [`Codec::decode`] has it.
    pub fn check(body: &[u8]) -> Result<(), UpdateError> {
        let Parts {
            withdrawn, announced, ..
        } = Parts::split(body)?;
        let well_formed = nlri::check_ipv4(withdrawn) && nlri::check_ipv4(announced);
        well_formed.then_some(()).ok_or(UpdateError::Network)
    }

    pub(super) fn decode(body: &[u8], codec: &Codec) -> Result<Self, UpdateError> {
        let Parts {
            withdrawn,
            attributes,
            announced,
        } = Parts::split(body)?;
        Ok(Self {
            withdrawn: nlri::decode_ipv4(withdrawn).ok_or(UpdateError::Network)?,
            attributes: Attribute::decode_all(attributes, codec),
            announced: nlri::decode_ipv4(announced).ok_or(UpdateError::Network)?,
        })
    }
}

/// The parts of a message, as they came.
struct Parts<'a> {
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    announced: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(body: &'a [u8]) -> Result<Self, UpdateError> {
        let mut reader = Reader::new(body);
        let mut part = || {
            let length = reader.u16()?;
            reader.take(length.into())
        };
        let (Some(withdrawn), Some(attributes)) = (part(), part()) else {
            return Err(UpdateError::Lengths);
        };
        Ok(Self {
            withdrawn,
            attributes,
            announced: reader.rest(),
        })
    }
}

/// Writes a part behind its 16-bit length.
fn counted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    write(out);
    // A part that overflows makes the message too long as well, which `Codec::encode` reports.
    let length = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX);
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
}
