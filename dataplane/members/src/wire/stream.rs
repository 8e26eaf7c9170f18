//! Streams: one message each way over TCP.

use super::{
    Refusal, kind,
    message::{Alive, Ping, RawNode, octets, sequence},
    msgpack::{Reader, Writer},
    packet::decompress,
};
use crate::keyring::{Keyring, OVERHEAD};

/// Largest content of a stream, as upstream has it.
pub(crate) const MAX_STREAM: usize = 20 * 1024 * 1024;
/// The same where nothing is encrypted: whether a message is whole is only seen by reading all of it again. Enough for
/// thousands of nodes.
const MAX_PLAIN_STREAM: usize = 2 * 1024 * 1024;
/// Type byte and length, before what is encrypted.
const HEADER_LEN: usize = 5;
/// Smallest node in a push/pull: keeps a header from claiming more than its bytes can hold.
const MIN_NODE: usize = 2;

/// What a member says about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Alive,
    Suspect,
    Dead,
    Left,
}

/// A node as a push/pull tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteNode {
    pub(crate) state: State,
    pub(crate) node: Alive,
}

/// What a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamMessage {
    PushPull { nodes: Vec<RemoteNode>, join: bool },
    Ping(Ping),
    Ack(u32),
    Error(String),
    User,
}

impl StreamMessage {
    /// Reads a message after decryption.
    pub(crate) fn decode(bytes: &[u8], default_port: u16) -> Result<Self, Refusal> {
        let mut plain = Vec::new();
        let (&first, rest) = bytes.split_first().ok_or(Refusal::Truncated)?;
        if first != kind::COMPRESSED {
            return Self::fields(first, rest, default_port);
        }
        plain.extend(decompress(&mut Reader::new(rest), MAX_STREAM)?);
        let (&first, rest) = plain.split_first().ok_or(Refusal::Malformed)?;
        Self::fields(first, rest, default_port).map_err(|refusal| match refusal {
            Refusal::Truncated => Refusal::Malformed,
            other => other,
        })
    }

    fn fields(first: u8, rest: &[u8], default_port: u16) -> Result<Self, Refusal> {
        let reader = &mut Reader::new(rest);
        Ok(match first {
            kind::PUSH_PULL => push_pull(reader, default_port)?,
            kind::PING => Self::Ping(Ping::decode(reader)?),
            kind::ACK => Self::Ack(sequence(reader)?),
            kind::ERROR => Self::Error(error(reader)?),
            kind::USER => Self::User,
            kind::LABEL => return Err(Refusal::Label),
            _ => return Err(Refusal::UnknownType),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::PushPull { nodes, join } => encode_push_pull(nodes, *join),
            Self::Ping(ping) => ping.encode(),
            Self::Ack(sequence) => super::message::ack(*sequence),
            Self::Error(text) => {
                let mut writer = Writer::starting_with(kind::ERROR);
                writer.map(1).text("Error", text);
                writer.finish()
            }
            Self::User => vec![kind::USER],
        }
    }
}

fn push_pull(reader: &mut Reader<'_>, default_port: u16) -> Result<StreamMessage, Refusal> {
    let (mut count, mut user, mut join) = (0_usize, 0_usize, false);
    reader.structure(|name, reader| {
        match name {
            b"Nodes" => count = reader.number()?,
            b"UserStateLen" => user = reader.number()?,
            b"Join" => join = reader.flag()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if count > MAX_STREAM / MIN_NODE || user > MAX_STREAM {
        return Err(Refusal::TooLarge);
    }
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(remote_node(reader, default_port)?);
    }
    // State of an application, which MetalLB has not.
    reader.take(user)?;
    Ok(StreamMessage::PushPull { nodes, join })
}

fn remote_node(reader: &mut Reader<'_>, default_port: u16) -> Result<RemoteNode, Refusal> {
    let (mut raw, mut state) = (RawNode::default(), 0_u8);
    reader.structure(|name, reader| {
        match name {
            b"Name" => raw.name = reader.text()?,
            b"State" => state = reader.number()?,
            _ => return raw.field(name, reader),
        }
        Ok(true)
    })?;
    Ok(RemoteNode {
        state: match state {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Dead,
            3 => State::Left,
            _ => return Err(Refusal::Malformed),
        },
        node: raw.finish(default_port)?,
    })
}

fn encode_push_pull(nodes: &[RemoteNode], join: bool) -> Vec<u8> {
    let mut writer = Writer::starting_with(kind::PUSH_PULL);
    writer
        .map(3)
        .flag("Join", join)
        .number("Nodes", u32::try_from(nodes.len()).unwrap_or(u32::MAX))
        .number("UserStateLen", 0);
    for RemoteNode { state, node } in nodes {
        writer
            .map(7)
            .bytes("Addr", &octets(node.address.ip()))
            .number("Incarnation", node.incarnation)
            .bytes("Meta", &node.meta)
            .text("Name", &node.node)
            .number("Port", node.address.port().into())
            .number("State", *state as u32)
            .bytes("Vsn", &node.versions);
    }
    writer.finish()
}

fn error(reader: &mut Reader<'_>) -> Result<String, Refusal> {
    let mut text = String::new();
    reader.structure(|name, reader| {
        let known = name == b"Error";
        if known {
            text = reader.text()?;
        }
        Ok(known)
    })?;
    Ok(text)
}

/// Encrypts what is to be written to a stream, if there is a key.
pub(crate) fn seal(keyring: &Keyring, nonce: [u8; 12], plain: Vec<u8>) -> Vec<u8> {
    if !keyring.encrypts() {
        return plain;
    }
    let len = u32::try_from(plain.len() + OVERHEAD).unwrap_or(u32::MAX).to_be_bytes();
    let header = [kind::ENCRYPTED, len[0], len[1], len[2], len[3]];
    let sealed = keyring.seal(nonce, plain, &header);
    [&header[..], &sealed].concat()
}

/// Decrypts what was read from a stream.
pub(crate) fn open(keyring: &Keyring, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    if !keyring.encrypts() {
        return Ok(bytes.to_vec());
    }
    let (header, sealed) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Refusal::Truncated)?;
    keyring.open(sealed, header)
}

/// How much of a stream is one message.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    pub(crate) encrypted: bool,
}

impl Framing {
    /// Says whether `bytes` hold a whole message.
    ///
    /// # Errors
    /// When they can never become one.
    pub fn is_whole(self, bytes: &[u8]) -> Result<bool, Refusal> {
        let Some(first) = bytes.first() else {
            return Ok(false);
        };
        match (*first, self.encrypted) {
            (kind::LABEL, _) => Err(Refusal::Label),
            (kind::ENCRYPTED, false) => Err(Refusal::Unexpected),
            (kind::ENCRYPTED, true) => {
                let Some([_, len @ ..]) = bytes.first_chunk::<HEADER_LEN>() else {
                    return Ok(false);
                };
                let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
                if len > MAX_STREAM {
                    return Err(Refusal::TooLarge);
                }
                Ok(bytes.len() >= HEADER_LEN + len)
            }
            // Also how a member says that it cannot read what we encrypt.
            (_, true) => Err(Refusal::Decryption),
            (_, false) if bytes.len() > MAX_PLAIN_STREAM => Err(Refusal::TooLarge),
            (_, false) => match StreamMessage::decode(bytes, 0) {
                Ok(_) => Ok(true),
                Err(Refusal::Truncated) => Ok(false),
                Err(other) => Err(other),
            },
        }
    }
}
