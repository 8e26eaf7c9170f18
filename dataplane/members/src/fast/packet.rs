//! Datagrams of the fast path. Their first byte is none of memberlist's.
//!
//! ```text
//!  0    1    2           10          18
//!  +----+----+-----------+-----------+--------------------------------------------------------------+-----+
//!  |0xf5| 01 | boot      | sequence  | encrypted: kind, sender, content of the kind, accusations    | tag |
//!  +----+----+-----------+-----------+--------------------------------------------------------------+-----+
//!  ping: nothing   ack: boot, sequence of the ping   ask: a name   vouch: boot, sequence of the ask   news: nothing
//!  accusations: their number, and for each a name and how often it was accused lately
//! ```
//! The key is HKDF-SHA-256 (RFC 5869) of the secret with `mlbr-fast-v1` and the boot, so that no two senders have one, and
//! the sequence is the nonce. The plain part is authenticated, too. Names begin with their length.

use std::{collections::BTreeMap, fmt};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
};

use crate::Refusal;

/// What tells the datagrams of the fast path from memberlist's.
pub const FIRST_BYTE: u8 = 0xf5;
/// No datagram of the fast path is longer.
pub const MAX_LEN: usize = 1400;

const VERSION: u8 = 1;
const HEADER: usize = 18;
const INFO: &[u8] = b"mlbr-fast-v1";
/// How long the accusations of a packet are together, so that it fits a datagram.
const MAX_NAMES: usize = 1000;
/// Runs of which the key is kept; more than there are members.
const MAX_RUNS: usize = 1024;

/// Which packet of which run of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) boot: u64,
    pub(crate) sequence: u64,
}

/// What a packet is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be answered.
    Ping,
    /// Answers the ping with this stamp.
    Ack(Stamp),
    /// Ping the member of this name, and vouch for it if it answers.
    Ask(String),
    /// The member that the ask with this stamp was about has answered.
    Vouch(Stamp),
    /// Nothing but the accusations.
    News,
}

/// How often a node was accused lately, by its name.
pub(crate) type Accused = BTreeMap<String, u8>;

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) stamp: Stamp,
    pub(crate) sender: String,
    pub(crate) kind: Kind,
    /// All whom the sender accuses.
    pub(crate) accused: Accused,
}

/// What packets are encrypted with: the first secret encrypts, all decrypt; none means that nothing is encrypted.
#[derive(Clone, Default)]
pub struct Keys(Vec<Prk>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys([redacted])")
    }
}

impl Keys {
    /// Keys derived from the secrets of the membership.
    #[must_use]
    pub fn of_secrets<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let salt = Salt::new(HKDF_SHA256, &[]);
        Self(secrets.into_iter().map(|secret| salt.extract(secret)).collect())
    }
}

/// The key of one run of a node.
fn key(secret: &Prk, boot: u64) -> Option<LessSafeKey> {
    let boot = boot.to_be_bytes();
    let info = [INFO, &boot];
    let okm = secret.expand(&info, &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(okm)))
}

fn nonce(sequence: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&sequence.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// The keys of the runs that are heard of, so that they need not be derived for each packet.
#[derive(Debug)]
pub(crate) struct Ciphers {
    keys: Keys,
    boot: u64,
    own: Option<LessSafeKey>,
    /// Of the runs of others, and the secret that each uses.
    runs: BTreeMap<u64, LessSafeKey>,
}

impl Ciphers {
    /// For the run `boot` of this node.
    pub(crate) fn new(keys: Keys, boot: u64) -> Self {
        Self {
            own: keys.0.first().and_then(|secret| key(secret, boot)),
            keys,
            boot,
            runs: BTreeMap::new(),
        }
    }

    pub(crate) fn set_keys(&mut self, keys: Keys) {
        *self = Self::new(keys, self.boot);
    }

    /// Encodes a packet of this run.
    pub(crate) fn encode(&self, packet: &Packet) -> Vec<u8> {
        packet.seal(self.own.as_ref())
    }

    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<Packet, Refusal> {
        let (stamp, header, body) = split(bytes)?;
        if self.keys.0.is_empty() {
            return Packet::read(stamp, body);
        }
        if let Some(plain) = self
            .runs
            .get(&stamp.boot)
            .and_then(|key| open(key, stamp, header, body))
        {
            return Packet::read(stamp, &plain);
        }
        for key in self.keys.0.iter().filter_map(|secret| key(secret, stamp.boot)) {
            if let Some(plain) = open(&key, stamp, header, body) {
                if self.runs.len() >= MAX_RUNS {
                    self.runs.clear();
                }
                self.runs.insert(stamp.boot, key);
                return Packet::read(stamp, &plain);
            }
        }
        Err(Refusal::Decryption)
    }
}

/// What a datagram begins with, and what may be encrypted.
fn split(bytes: &[u8]) -> Result<(Stamp, &[u8], &[u8]), Refusal> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(Refusal::Truncated)?;
    if header[0] != FIRST_BYTE {
        return Err(Refusal::UnknownType);
    }
    if header[1] != VERSION {
        return Err(Refusal::Version);
    }
    Ok((stamp(&mut &header[2..])?, header, body))
}

fn open(key: &LessSafeKey, stamp: Stamp, header: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let mut body = body.to_vec();
    let plain = key.open_in_place(nonce(stamp.sequence), Aad::from(header), &mut body);
    let len = plain.ok()?.len();
    body.truncate(len);
    Some(body)
}

impl Packet {
    #[cfg(test)]
    pub(crate) fn encode(&self, keys: &Keys) -> Vec<u8> {
        Ciphers::new(keys.clone(), self.stamp.boot).encode(self)
    }

    #[cfg(test)]
    pub(crate) fn decode(bytes: &[u8], keys: &Keys) -> Result<Self, Refusal> {
        Ciphers::new(keys.clone(), 0).decode(bytes)
    }

    fn seal(&self, key: Option<&LessSafeKey>) -> Vec<u8> {
        let mut bytes = vec![FIRST_BYTE, VERSION];
        put_stamp(&mut bytes, self.stamp);
        let mut body = Vec::new();
        let (kind, stamp, name) = match &self.kind {
            Kind::Ping => (1, None, None),
            Kind::Ack(stamp) => (2, Some(*stamp), None),
            Kind::Ask(name) => (3, None, Some(name)),
            Kind::Vouch(stamp) => (4, Some(*stamp), None),
            Kind::News => (5, None, None),
        };
        body.push(kind);
        put_name(&mut body, &self.sender);
        stamp.into_iter().for_each(|stamp| put_stamp(&mut body, stamp));
        name.into_iter().for_each(|name| put_name(&mut body, name));
        put_accused(&mut body, &self.accused);
        if let Some(key) = key {
            // It does not fail: the length of the body is far below the limit.
            let tag = key.seal_in_place_separate_tag(nonce(self.stamp.sequence), Aad::from(&bytes), &mut body);
            tag.into_iter().for_each(|tag| body.extend(tag.as_ref()));
        }
        bytes.append(&mut body);
        bytes
    }

    fn read(stamp_: Stamp, mut body: &[u8]) -> Result<Self, Refusal> {
        let rest = &mut body;
        let kind = byte(rest)?;
        let sender = name(rest)?;
        let kind = match kind {
            1 => Kind::Ping,
            2 => Kind::Ack(stamp(rest)?),
            3 => Kind::Ask(name(rest)?),
            4 => Kind::Vouch(stamp(rest)?),
            5 => Kind::News,
            _ => return Err(Refusal::UnknownType),
        };
        let mut accused = Accused::new();
        for _ in 0..byte(rest)? {
            accused.insert(name(rest)?, byte(rest)?);
        }
        Ok(Self {
            stamp: stamp_,
            sender,
            kind,
            accused,
        })
    }
}

fn put_stamp(bytes: &mut Vec<u8>, stamp: Stamp) {
    bytes.extend(stamp.boot.to_be_bytes());
    bytes.extend(stamp.sequence.to_be_bytes());
}

/// No name of a Node is longer than 253 bytes.
fn put_name(bytes: &mut Vec<u8>, name: &str) {
    let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    bytes.push(len);
    bytes.extend(&name.as_bytes()[..usize::from(len)]);
}

/// As many as fit: after the loss of more nodes than that the rest is left to memberlist.
fn put_accused(bytes: &mut Vec<u8>, accused: &Accused) {
    let mut room = MAX_NAMES;
    let mut told = Vec::new();
    for (name, level) in accused {
        let needed = name.len() + 2;
        if needed > room || told.len() == usize::from(u8::MAX) {
            break;
        }
        room -= needed;
        told.push((name, level));
    }
    bytes.push(u8::try_from(told.len()).unwrap_or(u8::MAX));
    for (name, level) in told {
        put_name(bytes, name);
        bytes.push(*level);
    }
}

fn byte(rest: &mut &[u8]) -> Result<u8, Refusal> {
    let (first, after) = rest.split_first().ok_or(Refusal::Truncated)?;
    *rest = after;
    Ok(*first)
}

fn number(rest: &mut &[u8]) -> Result<u64, Refusal> {
    let (first, after) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
    *rest = after;
    Ok(u64::from_be_bytes(*first))
}

fn stamp(rest: &mut &[u8]) -> Result<Stamp, Refusal> {
    Ok(Stamp {
        boot: number(rest)?,
        sequence: number(rest)?,
    })
}

fn name(rest: &mut &[u8]) -> Result<String, Refusal> {
    let len = usize::from(byte(rest)?);
    let (name, after) = rest.split_at_checked(len).ok_or(Refusal::Truncated)?;
    *rest = after;
    String::from_utf8(name.to_vec()).map_err(|_| Refusal::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(kind: Kind) -> Packet {
        Packet {
            stamp: Stamp { boot: 7, sequence: 9 },
            sender: "node-a".into(),
            kind,
            accused: Accused::from([("node-b".into(), 2)]),
        }
    }

    #[test]
    fn what_is_encoded_decodes_again() {
        let stamp = Stamp {
            boot: 1,
            sequence: u64::MAX,
        };
        let kinds = [
            Kind::Ping,
            Kind::Ack(stamp),
            Kind::Ask("c".into()),
            Kind::Vouch(stamp),
            Kind::News,
        ];
        for keys in [Keys::default(), Keys::of_secrets([b"secret".as_slice()])] {
            for packet in kinds.clone().map(packet) {
                let bytes = packet.encode(&keys);
                assert_eq!(bytes[0], FIRST_BYTE);
                assert_eq!(Packet::decode(&bytes, &keys), Ok(packet));
            }
        }
    }

    #[test]
    fn every_bit_is_authenticated() {
        let keys = Keys::of_secrets([b"secret".as_slice()]);
        let bytes = packet(Kind::Ping).encode(&keys);
        for at in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(Packet::decode(&bytes, &keys).is_err(), "bit {at}");
        }
    }

    #[test]
    fn a_new_secret_is_understood_beside_the_old_one() {
        let of = |secrets: &[&'static [u8]]| Keys::of_secrets(secrets.iter().copied());
        let bytes = packet(Kind::Ping).encode(&of(&[b"new", b"old"]));
        assert!(Packet::decode(&bytes, &of(&[b"old", b"new"])).is_ok());
        assert_eq!(Packet::decode(&bytes, &of(&[b"old"])), Err(Refusal::Decryption));
    }

    #[test]
    fn the_key_of_a_run_is_kept_and_not_beyond_a_change_of_the_secret() {
        let of = |secret: &'static [u8]| Keys::of_secrets([secret]);
        let (old, new) = (
            packet(Kind::Ping).encode(&of(b"old")),
            packet(Kind::Ping).encode(&of(b"new")),
        );
        let mut ciphers = Ciphers::new(of(b"old"), 1);
        for _ in 0..2 {
            assert!(ciphers.decode(&old).is_ok());
            assert_eq!(ciphers.decode(&new), Err(Refusal::Decryption));
        }
        assert_eq!(ciphers.runs.len(), 1, "nothing is kept of what was not understood");
        ciphers.set_keys(of(b"new"));
        assert_eq!(ciphers.decode(&old), Err(Refusal::Decryption));
        assert!(ciphers.decode(&new).is_ok());
    }

    #[test]
    fn the_loss_of_a_whole_rack_fits_a_datagram() {
        let accused = (0..200).map(|number| (format!("{number:0>200}"), 1)).collect();
        let all = Packet {
            accused,
            ..packet(Kind::Ask("x".repeat(253)))
        };
        let bytes = all.encode(&Keys::of_secrets([b"secret".as_slice()]));
        assert!(bytes.len() <= MAX_LEN, "{}", bytes.len());
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Packet::decode(&bytes, &Keys::default());
            let _ = Packet::decode(&[&[FIRST_BYTE, VERSION], &bytes[..]].concat(), &Keys::default());
        }
    }
}
