//! Datagrams: what is around the messages.

use super::{Refusal, kind, lzw, message::Message, msgpack::Reader};

/// Largest content of a datagram after decompression.
const MAX_PLAIN: usize = 1 << 16;
/// Deepest nesting of compound and compressed messages.
const MAX_DEPTH: u8 = 4;
/// Most messages in one compound, and in one datagram.
pub(crate) const MAX_PARTS: usize = 255;
/// What a compound message costs for itself, and for each of its parts.
pub(crate) const COMPOUND_OVERHEAD: usize = 2;

/// Joins messages into one datagram's content.
pub(crate) fn compound(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.truncate(MAX_PARTS);
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let count = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    let lengths = parts.iter().flat_map(|part| {
        let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
        len.to_be_bytes()
    });
    let mut bytes: Vec<u8> = [kind::COMPOUND, count].into_iter().chain(lengths).collect();
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// What a datagram says: messages, and why others were not understood.
pub(crate) type Messages = Vec<Result<Message, Refusal>>;

/// Reads a datagram after decryption.
pub(crate) fn read(bytes: &[u8], default_port: u16) -> Messages {
    let mut messages = Vec::new();
    let content = match bytes {
        [kind::CRC, a, b, c, d, rest @ ..] => {
            if crc32(rest) != u32::from_be_bytes([*a, *b, *c, *d]) {
                return vec![Err(Refusal::Checksum)];
            }
            rest
        }
        _ => bytes,
    };
    if let Err(refusal) = unpack(content, default_port, MAX_DEPTH, &mut messages) {
        messages.push(Err(refusal));
    }
    messages
}

fn unpack(bytes: &[u8], default_port: u16, depth: u8, messages: &mut Messages) -> Result<(), Refusal> {
    let deeper = depth.checked_sub(1).ok_or(Refusal::Malformed);
    match bytes {
        [kind::COMPOUND, rest @ ..] => {
            let deeper = deeper?;
            for part in parts(rest)? {
                unpack(part, default_port, deeper, messages)?;
            }
            Ok(())
        }
        [kind::COMPRESSED, rest @ ..] => {
            let plain = decompress(&mut Reader::new(rest), MAX_PLAIN)?;
            unpack(&plain, default_port, deeper?, messages)
        }
        _ if messages.len() >= MAX_PARTS => Err(Refusal::TooLarge),
        _ => {
            messages.push(Message::decode(bytes, default_port));
            Ok(())
        }
    }
}

/// The parts of a compound; those that are cut off are left out, as upstream does.
fn parts(bytes: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let (&count, rest) = bytes.split_first().ok_or(Refusal::Truncated)?;
    let (lengths, mut rest) = rest
        .split_at_checked(usize::from(count) * 2)
        .ok_or(Refusal::Truncated)?;
    let mut parts = Vec::with_capacity(count.into());
    for length in lengths.chunks_exact(2) {
        let length = u16::from_be_bytes([length[0], length[1]]);
        let Some((part, after)) = rest.split_at_checked(length.into()) else {
            break;
        };
        parts.push(part);
        rest = after;
    }
    Ok(parts)
}

/// Reads the fields of a compressed message, and decompresses.
pub(crate) fn decompress(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<u8>, Refusal> {
    let (mut algorithm, mut compressed): (u8, &[u8]) = (0, &[]);
    reader.structure(|name, reader| {
        match name {
            b"Algo" => algorithm = reader.number()?,
            b"Buf" => compressed = reader.bytes()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if algorithm != 0 {
        return Err(Refusal::UnknownType);
    }
    // What is cut short here is so for good: it was of a whole message.
    lzw::decompress(compressed, limit).map_err(|refusal| match refusal {
        Refusal::Truncated => Refusal::Malformed,
        other => other,
    })
}

/// CRC-32 of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let mut crc = crc ^ u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
        crc
    };
    !bytes.iter().fold(!0, step)
}
