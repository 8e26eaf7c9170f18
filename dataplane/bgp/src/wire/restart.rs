//! The graceful restart capability (RFC 4724 §3, RFC 8538 §2).
//!
//! ```text
//! +---+---+-------+-----------------------+
//! | R | N |   0   |  Restart time (12)    |    R: the sender has restarted; N: NOTIFICATIONs keep routes, too
//! +---+---+-------+-------+---------------+-----------+
//! |        AFI            |     SAFI      | F |   0   |  for each family; F: its routes still forward
//! +-----------------------+---------------+-----------+
//! ```

use super::{
    Family,
    reader::{self, Reader},
};

const RESTARTED: u16 = 0x8000;
const NOTIFICATION: u16 = 0x4000;
const TIME: u16 = 0x0fff;
const FORWARDS: u8 = 0x80;

/// The graceful restart capability of a speaker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartCapability {
    /// The speaker has restarted: its peer must not wait for its End-of-RIB.
    pub restarted: bool,
    /// A NOTIFICATION keeps routes as the loss of the connection does, unless it is a Hard Reset (RFC 8538).
    pub notification: bool,
    /// How many seconds the speaker needs at most to come back, up to [`RestartCapability::MAX_TIME`].
    pub time: u16,
    /// Lists the families that are kept; none if the speaker only helps others.
    pub families: Vec<RestartFamily>,
}

/// A family that is kept over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartFamily {
    /// The family.
    pub family: Family,
    /// Packets were forwarded all along.
    pub forwards: bool,
}

impl RestartCapability {
    /// The restart time has twelve bits.
    pub const MAX_TIME: u16 = TIME;

    pub(super) fn octets(&self) -> Vec<u8> {
        let flag = |set, bit| if set { bit } else { 0 };
        let head = self.time.min(TIME) | flag(self.restarted, RESTARTED) | flag(self.notification, NOTIFICATION);
        let mut octets = head.to_be_bytes().to_vec();
        for RestartFamily { family, forwards } in &self.families {
            octets.extend_from_slice(&family.afi.to_be_bytes());
            octets.extend_from_slice(&[family.safi, if *forwards { FORWARDS } else { 0 }]);
        }
        octets
    }

    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let head = reader.u16()?;
        Some(Self {
            restarted: head & RESTARTED != 0,
            notification: head & NOTIFICATION != 0,
            time: head & TIME,
            families: reader::all(reader.rest(), RestartFamily::read)?,
        })
    }
}

impl RestartFamily {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let family = Family {
            afi: reader.u16()?,
            safi: reader.u8()?,
        };
        let forwards = reader.u8()? & FORWARDS != 0;
        Some(Self { family, forwards })
    }
}
