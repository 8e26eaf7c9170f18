//! OPEN (RFC 4271 §4.2), with extended optional parameters (RFC 9072 §2).
//!
//! ```text
//! +---------------+
//! |  Version (4)  |
//! +---------------+---------------+
//! |     My Autonomous System      |
//! +-------------------------------+
//! |           Hold time           |
//! +-------------------------------+-------------------------------+
//! |                       BGP identifier                          |
//! +---------------+-----------------------------------------------+
//! |  Opt. length  |  parameters: type (2 = capabilities), length, value
//! +---------------+-----------------------------------------------
//! RFC 9072: opt. length 255, type 255, 16-bit length; then parameters with 16-bit lengths
//! ```

use std::net::Ipv4Addr;

use super::{Capability, OpenError, RestartCapability, reader::Reader, two_octets};

const VERSION: u8 = 4;
const CAPABILITIES: u8 = 2;
const EXTENDED: u8 = 255;

/// An OPEN message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The 16-bit AS field, which may be AS_TRANS; see [`Open::asn`].
    pub two_octet_asn: u16,
    /// The proposed hold time in seconds.
    pub hold_time: u16,
    /// The BGP identifier.
    pub router_id: Ipv4Addr,
    /// Lists what the speaker can do, in the order of the message.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// Makes an OPEN; `capabilities` should hold the 4-octet AS number.
    pub fn new(asn: u32, hold_time: u16, router_id: Ipv4Addr, capabilities: Vec<Capability>) -> Self {
        Self {
            two_octet_asn: two_octets(asn),
            hold_time,
            router_id,
            capabilities,
        }
    }

    /// Returns the 4-octet AS number if the speaker supports these (RFC 6793).
    pub fn four_octet_asn(&self) -> Option<u32> {
        self.capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAsn(asn) => Some(*asn),
            _ => None,
        })
    }

    /// Returns the AS that the speaker is in.
    pub fn asn(&self) -> u32 {
        self.four_octet_asn().unwrap_or_else(|| self.two_octet_asn.into())
    }

    /// Returns the graceful restart capability, if there is one (RFC 4724 §3).
    pub fn restart(&self) -> Option<&RestartCapability> {
        self.capabilities.iter().find_map(Capability::restart)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.two_octet_asn.to_be_bytes());
        out.extend_from_slice(&self.hold_time.to_be_bytes());
        out.extend_from_slice(&self.router_id.octets());
        let mut parameter = Vec::new();
        self.capabilities
            .iter()
            .for_each(|capability| capability.encode(&mut parameter));
        // The short form holds 255 octets of parameters, two of which are type and length; 255 itself means extended.
        match u8::try_from(parameter.len()) {
            Ok(0) => out.push(0),
            Ok(length) if length <= 252 => out.extend_from_slice(&[length + 2, CAPABILITIES, length]),
            _ => {
                let length = u16::try_from(parameter.len()).unwrap_or(u16::MAX);
                out.extend_from_slice(&[EXTENDED, EXTENDED]);
                out.extend_from_slice(&length.saturating_add(3).to_be_bytes());
                out.push(CAPABILITIES);
                out.extend_from_slice(&length.to_be_bytes());
            }
        }
        out.extend_from_slice(&parameter);
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, OpenError> {
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(OpenError::Malformed)?;
        if version != VERSION {
            return Err(OpenError::Version(version));
        }
        let fixed = (|| Some((reader.u16()?, reader.u16()?, reader.ipv4()?)))();
        let (two_octet_asn, hold_time, router_id) = fixed.ok_or(OpenError::Malformed)?;
        Ok(Self {
            two_octet_asn,
            hold_time,
            router_id,
            capabilities: parameters(reader)?,
        })
    }
}

fn parameters(mut reader: Reader<'_>) -> Result<Vec<Capability>, OpenError> {
    let length = reader.u8().ok_or(OpenError::Malformed)?;
    let extended = length == EXTENDED && reader.rest().first() == Some(&EXTENDED);
    let length = if extended {
        reader.u8();
        reader.u16().ok_or(OpenError::Malformed)?
    } else {
        length.into()
    };
    if reader.rest().len() != usize::from(length) {
        return Err(OpenError::Malformed);
    }
    let mut capabilities = Vec::new();
    while let Some(kind) = reader.u8() {
        let length = if extended {
            reader.u16()
        } else {
            reader.u8().map(u16::from)
        };
        let value = length
            .and_then(|length| reader.take(length.into()))
            .ok_or(OpenError::Malformed)?;
        if kind != CAPABILITIES {
            return Err(OpenError::Parameter(kind));
        }
        capabilities.extend(Capability::decode_all(value)?);
    }
    Ok(capabilities)
}
