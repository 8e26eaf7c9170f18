//! The datagrams speakers exchange.
//!
//! ```text
//!  0      1      2      3             11          19      27  28          ..  ..        ..
//!  +------+------+------+-------------+-----------+-------+---+-----------+---+---------+----------------+
//!  | 0xF5 | 0x01 | kind | incarnation | sequence  | echo  |len| from      |len| to      | HMAC-SHA256    |
//!  +------+------+------+-------------+-----------+-------+---+-----------+---+---------+----------------+
//! ```
//! Numbers are big-endian. The first byte is one with which no memberlist packet starts, because both may share a port.
//! The code covers everything before it; its key is the memberlist secret, or empty.

use std::fmt;

use ring::hmac;

const MAGIC: u8 = 0xF5;
const VERSION: u8 = 1;
const TAG_LEN: usize = 32;
/// Longest name of a node that fits its length byte; Kubernetes allows 253.
pub(crate) const MAX_NAME: usize = 255;

/// Authenticates datagrams.
pub(crate) struct Key(hmac::Key);

impl Key {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

/// What a datagram wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be answered at once.
    Hello,
    /// Nothing; it is a sign of life.
    Beat,
    /// To be forgotten at once.
    Leave,
}

/// A datagram's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// Grows with every start of the sender.
    pub(crate) incarnation: u64,
    /// Grows with every datagram of one incarnation.
    pub(crate) sequence: u64,
    /// The receiver's incarnation as the sender knows it, 0 if it does not. Proves that the datagram is not a
    /// recording from before the receiver's start.
    pub(crate) echo: u64,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Why a datagram is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another protocol or version.
    #[error("not a membership datagram of this version")]
    Foreign,
    /// Cut short or otherwise not as it should be.
    #[error("malformed datagram")]
    Malformed,
    /// The sender has another secret.
    #[error("wrong authentication code, the secrets differ")]
    Authentication,
    /// Meant for another node.
    #[error("meant for another node")]
    Misdirected,
    /// Not (yet) one of the peers.
    #[error("sender is not a known speaker")]
    UnknownSender,
    /// Older than the last one accepted.
    #[error("old or repeated datagram")]
    Replay,
}

impl Message {
    /// Encodes and signs. Names longer than [`MAX_NAME`] must have been refused before.
    pub(crate) fn seal(&self, key: &Key) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Hello => 1,
            Kind::Beat => 2,
            Kind::Leave => 3,
        };
        let mut bytes = vec![MAGIC, VERSION, kind];
        for number in [self.incarnation, self.sequence, self.echo] {
            bytes.extend(number.to_be_bytes());
        }
        for name in [&self.from, &self.to] {
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend(name.as_bytes().iter().take(MAX_NAME));
        }
        let tag = hmac::sign(&key.0, &bytes);
        bytes.extend(tag.as_ref());
        bytes
    }

    /// Checks the code, then decodes.
    pub(crate) fn open(key: &Key, bytes: &[u8]) -> Result<Self, Refusal> {
        if !bytes.starts_with(&[MAGIC, VERSION]) {
            return Err(Refusal::Foreign);
        }
        let body_len = bytes.len().checked_sub(TAG_LEN).ok_or(Refusal::Malformed)?;
        let (body, tag) = bytes.split_at(body_len);
        hmac::verify(&key.0, body, tag).map_err(|_| Refusal::Authentication)?;
        Self::decode(body).ok_or(Refusal::Malformed)
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut rest = body.get(2..)?;
        let kind = match take(&mut rest, 1)?.first()? {
            1 => Kind::Hello,
            2 => Kind::Beat,
            3 => Kind::Leave,
            _ => return None,
        };
        let message = Self {
            kind,
            incarnation: number(&mut rest)?,
            sequence: number(&mut rest)?,
            echo: number(&mut rest)?,
            from: name(&mut rest)?,
            to: name(&mut rest)?,
        };
        rest.is_empty().then_some(message)
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest, 8)?.try_into().ok().map(u64::from_be_bytes)
}

fn name(rest: &mut &[u8]) -> Option<String> {
    let len = usize::from(*take(rest, 1)?.first()?);
    String::from_utf8(take(rest, len)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        let kind = prop_oneof![Just(Kind::Hello), Just(Kind::Beat), Just(Kind::Leave)];
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
        (kind, numbers, "[a-z0-9.-]{0,253}", "[a-z0-9.-]{0,253}").prop_map(|(kind, numbers, from, to)| {
            let (incarnation, sequence, echo) = numbers;
            Message {
                kind,
                incarnation,
                sequence,
                echo,
                from,
                to,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again(message in message()) {
            let key = Key::new(b"secret");
            prop_assert_eq!(Message::open(&key, &message.seal(&key)), Ok(message));
        }

        #[test]
        fn a_changed_byte_is_noticed(message in message(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let key = Key::new(b"secret");
            let mut bytes = message.seal(&key);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Message::open(&key, &bytes).is_err());
        }

        #[test]
        fn opening_anything_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Message::open(&Key::new(b""), &bytes);
            let _ = Message::decode(&bytes);
        }
    }

    #[test]
    fn another_secret_is_refused() {
        let message = Message {
            kind: Kind::Beat,
            incarnation: 1,
            sequence: 1,
            echo: 0,
            from: "a".into(),
            to: "b".into(),
        };
        let sealed = message.seal(&Key::new(b"one"));
        assert_eq!(Message::open(&Key::new(b"two"), &sealed), Err(Refusal::Authentication));
    }

    #[test]
    fn a_memberlist_packet_is_foreign() {
        assert_eq!(Message::open(&Key::new(b""), &[1; 60]), Err(Refusal::Foreign));
    }
}
