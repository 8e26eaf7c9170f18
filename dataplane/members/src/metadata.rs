//! What a member says of itself: text that every version of ours reads, and fields in memberlist's metadata.
//!
//! ```text
//!  "mlbr/1;" ["fast;"] [other words, each with ";"] "rank;"  fields: type (1 byte), length (1 byte), content
//!  1 boot: milliseconds since 1970, 8 bytes       3 interfaces: MAC, 6 bytes; of each with it: length of its name and
//!  2 failback: setting, flags, 1 byte each          flag, 1 byte; the name. Again for each MAC
//!    flags: 1 newcomer, 2 starting                4 more: there are interfaces that did not fit
//! ```
//! Upstream's members have no metadata and do not read that of others. Versions of ours before `rank;` read nothing but
//! whether it begins with `mlbr/1;fast;`. Fields of unknown type are skipped.

use std::collections::BTreeMap;

use crate::{CAPABILITY, MAX_META, fast};

/// After it come the fields; who says it ranks nodes by them.
const RANK: &[u8] = b"rank;";
/// More words than that before it are none of ours.
const MAX_WORDS: usize = 8;

const BOOT: u8 = 1;
const FAILBACK: u8 = 2;
const INTERFACES: u8 = 3;
const MORE: u8 = 4;

const NEWCOMER: u8 = 1;
const STARTING: u8 = 2;

/// The upper bit of a name's length.
const LATELY: u8 = 0x80;
const MAX_NAME: usize = 0x7f;
const HEADER: usize = 2;
const MAC: usize = 6;

/// Who gets an address when a node returns that would have owned it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failback {
    /// The node that returns, at once, as with upstream.
    #[default]
    Immediate,
    /// The node that returns, after some time.
    Delayed,
    /// The node that has it.
    Never,
}

/// An interface on which a member can announce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its hardware address.
    pub mac: [u8; MAC],
    /// It could not be used until lately.
    pub lately: bool,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// When its speaker started, in milliseconds since 1970 by its own clock.
    pub boot: u64,
    /// Its setting.
    pub failback: Failback,
    /// It has come, or come back, lately.
    pub newcomer: bool,
    /// It does not know yet whether it is a newcomer, and is to be taken for one.
    pub starting: bool,
    /// By name, the interfaces on which it can announce.
    pub interfaces: BTreeMap<String, Interface>,
    /// It has more interfaces than those.
    pub more: bool,
}

impl Metadata {
    /// Writes at most [`MAX_META`] bytes; sets `more` when not all interfaces fit. `fast` tells whether the member takes part
    /// in fast failover.
    #[must_use]
    pub fn encode(&self, fast: bool) -> Vec<u8> {
        let mut bytes = if fast { fast::CAPABILITY } else { CAPABILITY }.to_vec();
        bytes.extend(RANK);
        put_field(&mut bytes, BOOT, &self.boot.to_be_bytes());
        let setting = match self.failback {
            Failback::Immediate => 0,
            Failback::Delayed => 1,
            Failback::Never => 2,
        };
        let flags = if self.newcomer { NEWCOMER } else { 0 } | if self.starting { STARTING } else { 0 };
        put_field(&mut bytes, FAILBACK, &[setting, flags]);
        let room = MAX_META - bytes.len() - HEADER;
        let (interfaces, all) = self.interfaces(room);
        bytes.extend(interfaces);
        if self.more || !all {
            put_field(&mut bytes, MORE, &[]);
        }
        bytes
    }

    /// The fields of the interfaces that fit into `room`, and whether all do.
    fn interfaces(&self, room: usize) -> (Vec<u8>, bool) {
        let mut by_mac = BTreeMap::<[u8; MAC], Vec<(&str, bool)>>::new();
        for (name, interface) in &self.interfaces {
            by_mac.entry(interface.mac).or_default().push((name, interface.lately));
        }
        let (mut bytes, mut all) = (Vec::new(), true);
        for (mac, names) in by_mac {
            let mut content = mac.to_vec();
            for (name, lately) in names {
                let len = 1 + name.len();
                if content.len() + len > usize::from(u8::MAX) {
                    put_field(&mut bytes, INTERFACES, &content);
                    content.truncate(MAC);
                }
                let fits = bytes.len() + HEADER + content.len() + len <= room;
                match u8::try_from(name.len()) {
                    Ok(len @ 1..LATELY) if fits => {
                        content.push(len | if lately { LATELY } else { 0 });
                        content.extend(name.as_bytes());
                    }
                    _ => all = false,
                }
            }
            if content.len() > MAC {
                put_field(&mut bytes, INTERFACES, &content);
            }
        }
        (bytes, all)
    }

    /// Reads the metadata of a member; `None` for one that does not rank nodes as ours do: it is of upstream's, older, or
    /// illegible.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_META {
            return None;
        }
        let mut rest = bytes.strip_prefix(CAPABILITY)?;
        for _ in 0..MAX_WORDS {
            let end = rest.iter().position(|byte| *byte == b';')?;
            let (word, after) = rest.split_at(end + 1);
            rest = after;
            if word == RANK {
                return Self::fields(rest);
            }
        }
        None
    }

    fn fields(mut rest: &[u8]) -> Option<Self> {
        let mut read = Self::default();
        while !rest.is_empty() {
            let (kind, len) = (*rest.first()?, usize::from(*rest.get(1)?));
            let (content, after) = rest[HEADER..].split_at_checked(len)?;
            rest = after;
            match kind {
                BOOT => read.boot = u64::from_be_bytes(*content.first_chunk()?),
                FAILBACK => {
                    let [setting, flags] = *content.first_chunk()?;
                    read.failback = match setting {
                        1 => Failback::Delayed,
                        2 => Failback::Never,
                        _ => Failback::Immediate,
                    };
                    (read.newcomer, read.starting) = (flags & NEWCOMER != 0, flags & STARTING != 0);
                }
                INTERFACES => read.read_interfaces(content)?,
                MORE => read.more = true,
                _ => {}
            }
        }
        Some(read)
    }

    fn read_interfaces(&mut self, content: &[u8]) -> Option<()> {
        let (mac, mut rest) = content.split_first_chunk()?;
        while let Some((len, after)) = rest.split_first() {
            let (name, after) = after.split_at_checked(usize::from(*len) & MAX_NAME)?;
            rest = after;
            let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
            let interface = Interface {
                mac: *mac,
                lately: len & LATELY != 0,
            };
            self.interfaces.insert(name.to_owned(), interface);
        }
        Some(())
    }
}

/// No content is longer than 255 bytes.
fn put_field(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    bytes.extend([kind, u8::try_from(content.len()).unwrap_or(u8::MAX)]);
    bytes.extend(&content[..content.len().min(usize::from(u8::MAX))]);
}

/// Reads metadata; what was understood is the same when it is written and read again.
pub(crate) fn check(bytes: &[u8]) {
    if let Some(metadata) = Metadata::decode(bytes) {
        for fast in [false, true] {
            let written = metadata.encode(fast);
            assert!(written.len() <= MAX_META, "{} bytes", written.len());
            let again = Metadata::decode(&written);
            // A field that was missing may take the place of an interface.
            assert!(again.is_some_and(|again| again == metadata || again.more));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metadata(names: &[&str]) -> Metadata {
        let interface = |(number, name): (u8, &&str)| {
            let interface = Interface {
                mac: [2, 0, 0, 0, 0, number / 2],
                lately: number % 3 == 0,
            };
            ((*name).to_owned(), interface)
        };
        Metadata {
            boot: 1_700_000_000_000,
            failback: Failback::Delayed,
            newcomer: true,
            interfaces: (0..).zip(names).map(interface).collect(),
            ..Metadata::default()
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for metadata in [Metadata::default(), metadata(&["eth0", "eth1", "bond0.1234"])] {
            assert_eq!(Metadata::decode(&metadata.encode(true)), Some(metadata.clone()));
            assert_eq!(Metadata::decode(&metadata.encode(false)), Some(metadata));
        }
    }

    #[test]
    fn older_versions_of_ours_see_who_takes_part_in_fast_failover() {
        assert!(metadata(&["eth0"]).encode(true).starts_with(b"mlbr/1;fast;"));
        let slow = metadata(&["eth0"]).encode(false);
        assert!(slow.starts_with(b"mlbr/1;") && !slow.starts_with(b"mlbr/1;fast;"));
    }

    #[test]
    fn upstreams_members_and_older_ones_of_ours_do_not_rank() {
        for bytes in [
            &b""[..],
            b"mlbr/1;",
            b"mlbr/1;fast;",
            b"mlbr/2;rank;",
            b"rank;",
            b"mlbr/1;rank",
        ] {
            assert_eq!(Metadata::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn words_and_fields_of_later_versions_are_skipped() {
        let mut bytes = b"mlbr/1;fast;more;rank;".to_vec();
        put_field(&mut bytes, 99, b"whatever");
        put_field(&mut bytes, INTERFACES, b"\x02\0\0\0\0\x01\x04eth0");
        put_field(&mut bytes, FAILBACK, &[9, 0xff, 1, 2, 3]);
        let read = Metadata::decode(&bytes).unwrap();
        assert_eq!(read.interfaces["eth0"].mac, [2, 0, 0, 0, 0, 1]);
        assert_eq!((read.failback, read.newcomer), (Failback::Immediate, true));
    }

    #[test]
    fn what_is_cut_short_is_not_believed() {
        let whole = metadata(&["eth0", "eth1"]).encode(true);
        let fields = CAPABILITY.len() + b"fast;rank;".len();
        for len in fields + 1..whole.len() {
            let read = Metadata::decode(&whole[..len]);
            assert!(read.is_none_or(|read| read.interfaces.len() < 2), "{len}");
        }
    }

    /// A host with very many VLANs.
    #[test]
    fn interfaces_that_do_not_fit_are_told_of() {
        let names: Vec<String> = (0..200).map(|vlan| format!("bond0.{vlan}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut all = metadata(&names);
        all.interfaces.values_mut().for_each(|interface| interface.mac = [2; 6]);
        let bytes = all.encode(true);
        assert!(bytes.len() <= MAX_META, "{}", bytes.len());
        let read = Metadata::decode(&bytes).unwrap();
        assert!(read.more);
        assert!(read.interfaces.len() > 40, "{}", read.interfaces.len());
        assert!(read.interfaces.iter().all(|(name, said)| all.interfaces[name] == *said));
    }

    fn some_metadata() -> impl Strategy<Value = Metadata> {
        let interface = (any::<[u8; 6]>(), any::<bool>()).prop_map(|(mac, lately)| Interface { mac, lately });
        let interfaces = prop::collection::btree_map("[a-z0-9.]{0,16}", interface, 0..60);
        (any::<u64>(), 0..3u8, any::<[bool; 2]>(), interfaces).prop_map(|(boot, failback, flags, interfaces)| {
            Metadata {
                boot,
                failback: [Failback::Immediate, Failback::Delayed, Failback::Never][usize::from(failback)],
                newcomer: flags[0],
                starting: flags[1],
                interfaces,
                more: false,
            }
        })
    }

    proptest! {
        #[test]
        fn whatever_a_member_has_fits(metadata in some_metadata()) {
            let bytes = metadata.encode(true);
            prop_assert!(bytes.len() <= MAX_META);
            let read = Metadata::decode(&bytes).unwrap();
            prop_assert_eq!(read.more, read.interfaces.len() < metadata.interfaces.len());
            prop_assert!(read.interfaces.iter().all(|(name, said)| metadata.interfaces[name] == *said));
            let same = Metadata { interfaces: read.interfaces.clone(), more: read.more, ..metadata };
            prop_assert_eq!(read, same);
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            check(&bytes);
            check(&[&b"mlbr/1;rank;"[..], &bytes].concat());
            check(&[&b"mlbr/1;rank;\x03\x20\x02\0\0\0\0\x01"[..], &bytes].concat());
        }
    }
}
