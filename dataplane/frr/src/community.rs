//! Communities, as written in the names of lists and as FRR prints them.

use std::fmt;

/// A BGP community. Displayed as in the name of its prefix list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// RFC 1997: `A << 16 | B`.
    Standard(u32),
    /// RFC 8092.
    Large {
        /// The global administrator.
        global: u32,
        /// The first part of the data.
        data1: u32,
        /// The second part of the data.
        data2: u32,
    },
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Standard(value) => write!(f, "{}:{}", value >> 16, value & 0xffff),
            Self::Large { global, data1, data2 } => write!(f, "large:{global}:{data1}:{data2}"),
        }
    }
}

impl Community {
    /// The `set` statement that adds it, in the words in which FRR shows it, so that a reload finds nothing changed.
    pub(crate) fn set(self) -> String {
        match self {
            Self::Standard(value) => match well_known(value) {
                Some(name) => format!("set community {name} additive"),
                None => format!("set community {self} additive"),
            },
            Self::Large { global, data1, data2 } => format!("set large-community {global}:{data1}:{data2} additive"),
        }
    }
}

/// The names that FRR 8.4 and later know (`lib/bgp` of FRR, IANA's registry of well-known communities).
fn well_known(value: u32) -> Option<&'static str> {
    Some(match value {
        0xffff_0000 => "graceful-shutdown",
        0xffff_0001 => "accept-own",
        0xffff_0002 => "route-filter-translated-v4",
        0xffff_0003 => "route-filter-v4",
        0xffff_0004 => "route-filter-translated-v6",
        0xffff_0005 => "route-filter-v6",
        0xffff_0006 => "llgr-stale",
        0xffff_0007 => "no-llgr",
        0xffff_0008 => "accept-own-nexthop",
        0xffff_029a => "blackhole",
        0xffff_ff01 => "no-export",
        0xffff_ff02 => "no-advertise",
        0xffff_ff03 => "local-AS",
        0xffff_ff04 => "no-peer",
        _ => return None,
    })
}
