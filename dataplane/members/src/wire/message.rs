//! The messages and their fields.

use std::net::{IpAddr, SocketAddr};

use super::{
    Refusal, kind,
    msgpack::{Reader, Writer},
};

/// Longest metadata of a node.
pub const MAX_META: usize = 512;
/// Longest name of a node, as Kubernetes has it and some more.
const MAX_NAME: usize = 512;
/// Six are known.
const MAX_VERSIONS: usize = 16;
/// What upstream's members say: protocol 2 of 1 to 5, no delegate.
pub(crate) const VERSIONS: [u8; 6] = [1, 5, 2, 0, 0, 0];

/// Where and who the sender is, so that the answer finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) node: String,
}

/// To be answered by an ack of the same number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ping {
    pub(crate) sequence: u32,
    pub(crate) node: String,
    pub(crate) source: Source,
}

/// To be carried out by a ping of `target`, and its ack passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndirectPing {
    pub(crate) sequence: u32,
    pub(crate) target: SocketAddr,
    pub(crate) node: String,
    /// Whether a nack is wanted when the target does not answer.
    pub(crate) nack: bool,
    pub(crate) source: Source,
}

/// A node is suspect, or dead; dead by its own word means that it has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accusation {
    pub(crate) incarnation: u32,
    pub(crate) node: String,
    pub(crate) from: String,
}

/// A node is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) incarnation: u32,
    pub(crate) node: String,
    pub(crate) address: SocketAddr,
    pub(crate) meta: Vec<u8>,
    pub(crate) versions: Vec<u8>,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Ping(Ping),
    IndirectPing(IndirectPing),
    Ack(u32),
    Nack(u32),
    Suspect(Accusation),
    Alive(Alive),
    Dead(Accusation),
    /// Of an application, which MetalLB has not.
    User,
}

impl Message {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ping(ping) => ping.encode(),
            Self::IndirectPing(ping) => ping.encode(),
            Self::Ack(sequence) => ack(*sequence),
            Self::Nack(sequence) => {
                let mut writer = Writer::starting_with(kind::NACK);
                writer.map(1).number("SeqNo", *sequence);
                writer.finish()
            }
            Self::Suspect(accusation) => accusation.encode(kind::SUSPECT),
            Self::Dead(accusation) => accusation.encode(kind::DEAD),
            Self::Alive(alive) => alive.encode(),
            Self::User => vec![kind::USER],
        }
    }

    /// Reads a message; `default_port` is meant by a port of zero.
    pub(crate) fn decode(bytes: &[u8], default_port: u16) -> Result<Self, Refusal> {
        let (&first, fields) = bytes.split_first().ok_or(Refusal::Truncated)?;
        let reader = &mut Reader::new(fields);
        Ok(match first {
            kind::PING => Self::Ping(Ping::decode(reader)?),
            kind::INDIRECT_PING => Self::IndirectPing(IndirectPing::decode(reader, default_port)?),
            kind::ACK => Self::Ack(sequence(reader)?),
            kind::NACK => Self::Nack(sequence(reader)?),
            kind::SUSPECT => Self::Suspect(Accusation::decode(reader)?),
            kind::DEAD => Self::Dead(Accusation::decode(reader)?),
            kind::ALIVE => Self::Alive(Alive::decode(reader, default_port)?),
            kind::USER => Self::User,
            kind::LABEL => return Err(Refusal::Label),
            _ => return Err(Refusal::UnknownType),
        })
    }
}

pub(crate) fn ack(sequence: u32) -> Vec<u8> {
    let mut writer = Writer::starting_with(kind::ACK);
    writer.map(2).bytes("Payload", &[]).number("SeqNo", sequence);
    writer.finish()
}

/// Of acks and nacks.
pub(crate) fn sequence(reader: &mut Reader<'_>) -> Result<u32, Refusal> {
    let mut sequence = 0;
    reader.structure(|name, reader| {
        let known = name == b"SeqNo";
        if known {
            sequence = reader.number()?;
        }
        Ok(known)
    })?;
    Ok(sequence)
}

impl Source {
    /// How many fields it has: empty ones are left out.
    fn fields(&self) -> u8 {
        let node = u8::from(!self.node.is_empty());
        if self.address.is_some() { 2 + node } else { node }
    }

    fn write(&self, writer: &mut Writer) {
        if let Some(address) = self.address {
            writer.bytes("SourceAddr", &octets(address.ip()));
        }
        if !self.node.is_empty() {
            writer.text("SourceNode", &self.node);
        }
        if let Some(address) = self.address {
            writer.number("SourcePort", address.port().into());
        }
    }
}

/// The fields of a source as they come in.
#[derive(Default)]
struct RawSource<'a> {
    address: &'a [u8],
    port: u16,
    node: String,
}

impl<'a> RawSource<'a> {
    fn field(&mut self, name: &[u8], reader: &mut Reader<'a>) -> Result<bool, Refusal> {
        match name {
            b"SourceAddr" => self.address = reader.bytes()?,
            b"SourcePort" => self.port = reader.number()?,
            b"SourceNode" => self.node = reader.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self) -> Result<Source, Refusal> {
        let address = if self.address.is_empty() || self.port == 0 {
            None
        } else {
            Some(SocketAddr::new(ip(self.address)?, self.port))
        };
        Ok(Source {
            address,
            node: self.node,
        })
    }
}

impl Ping {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::starting_with(kind::PING);
        writer
            .map(2 + self.source.fields())
            .text("Node", &self.node)
            .number("SeqNo", self.sequence);
        self.source.write(&mut writer);
        writer.finish()
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let mut ping = Self::default();
        let mut source = RawSource::default();
        reader.structure(|name, reader| {
            match name {
                b"SeqNo" => ping.sequence = reader.number()?,
                b"Node" => ping.node = reader.text()?,
                _ => return source.field(name, reader),
            }
            Ok(true)
        })?;
        ping.source = source.finish()?;
        Ok(ping)
    }
}

impl IndirectPing {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::starting_with(kind::INDIRECT_PING);
        writer
            .map(5 + self.source.fields())
            .flag("Nack", self.nack)
            .text("Node", &self.node)
            .number("Port", self.target.port().into())
            .number("SeqNo", self.sequence);
        self.source.write(&mut writer);
        writer.bytes("Target", &octets(self.target.ip()));
        writer.finish()
    }

    fn decode(reader: &mut Reader<'_>, default_port: u16) -> Result<Self, Refusal> {
        let (mut sequence, mut node, mut nack) = (0, String::new(), false);
        let (mut target, mut port): (&[u8], u16) = (&[], 0);
        let mut source = RawSource::default();
        reader.structure(|name, reader| {
            match name {
                b"SeqNo" => sequence = reader.number()?,
                b"Node" => node = reader.text()?,
                b"Nack" => nack = reader.flag()?,
                b"Target" => target = reader.bytes()?,
                b"Port" => port = reader.number()?,
                _ => return source.field(name, reader),
            }
            Ok(true)
        })?;
        Ok(Self {
            sequence,
            target: socket(target, port, default_port)?,
            node,
            nack,
            source: source.finish()?,
        })
    }
}

impl Accusation {
    fn encode(&self, first: u8) -> Vec<u8> {
        let mut writer = Writer::starting_with(first);
        writer
            .map(3)
            .text("From", &self.from)
            .number("Incarnation", self.incarnation)
            .text("Node", &self.node);
        writer.finish()
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let mut accusation = Self::default();
        reader.structure(|name, reader| {
            match name {
                b"Incarnation" => accusation.incarnation = reader.number()?,
                b"Node" => accusation.node = reader.text()?,
                b"From" => accusation.from = reader.text()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(accusation)
    }
}

impl Alive {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::starting_with(kind::ALIVE);
        writer
            .map(6)
            .bytes("Addr", &octets(self.address.ip()))
            .number("Incarnation", self.incarnation)
            .bytes("Meta", &self.meta)
            .text("Node", &self.node)
            .number("Port", self.address.port().into())
            .bytes("Vsn", &self.versions);
        writer.finish()
    }

    fn decode(reader: &mut Reader<'_>, default_port: u16) -> Result<Self, Refusal> {
        let mut raw = RawNode::default();
        reader.structure(|name, reader| match name {
            b"Node" => {
                raw.name = reader.text()?;
                Ok(true)
            }
            _ => raw.field(name, reader),
        })?;
        raw.finish(default_port)
    }
}

/// The fields that an alive message and a node of a push/pull share.
#[derive(Default)]
pub(crate) struct RawNode<'a> {
    pub(crate) name: String,
    address: &'a [u8],
    port: u16,
    incarnation: u32,
    meta: &'a [u8],
    versions: &'a [u8],
}

impl<'a> RawNode<'a> {
    pub(crate) fn field(&mut self, name: &[u8], reader: &mut Reader<'a>) -> Result<bool, Refusal> {
        match name {
            b"Incarnation" => self.incarnation = reader.number()?,
            b"Addr" => self.address = reader.bytes()?,
            b"Port" => self.port = reader.number()?,
            b"Meta" => self.meta = reader.bytes()?,
            b"Vsn" => self.versions = reader.bytes()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn finish(self, default_port: u16) -> Result<Alive, Refusal> {
        if self.name.is_empty() {
            return Err(Refusal::Malformed);
        }
        if self.meta.len() > MAX_META || self.name.len() > MAX_NAME || self.versions.len() > MAX_VERSIONS {
            return Err(Refusal::TooLarge);
        }
        Ok(Alive {
            incarnation: self.incarnation,
            node: self.name,
            address: socket(self.address, self.port, default_port)?,
            meta: self.meta.to_vec(),
            versions: self.versions.to_vec(),
        })
    }
}

/// Four bytes for IPv4, sixteen for IPv6.
pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip(octets: &[u8]) -> Result<IpAddr, Refusal> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Ok(IpAddr::from(four));
    }
    let sixteen = <[u8; 16]>::try_from(octets).map_err(|_| Refusal::Malformed)?;
    Ok(IpAddr::from(sixteen).to_canonical())
}

fn socket(octets: &[u8], port: u16, default_port: u16) -> Result<SocketAddr, Refusal> {
    Ok(SocketAddr::new(
        ip(octets)?,
        if port == 0 { default_port } else { port },
    ))
}
