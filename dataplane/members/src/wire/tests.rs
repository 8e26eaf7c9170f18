//! What Go's members said, recorded by `tests/interop`: we read all of it, and write the same bytes.

use proptest::prelude::*;

use super::{
    message::Message,
    stream::{Framing, State, StreamMessage},
    *,
};
use crate::{Keyring, fuzz};

const RECORDINGS: &str = include_str!("../recordings/memberlist-0.5.1.txt");
const PORT: u16 = 7946;

fn keyring() -> Keyring {
    Keyring::of_keys([*b"0123456789abcdefghijklmnopqrstuv"])
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// The recordings of a mode, `plain`, `compressed` or `encrypted`, and a kind, `packet` or `stream`.
fn recorded(mode: &str, kind: &str) -> Vec<Vec<u8>> {
    let prefix = format!("{mode} {kind} ");
    let lines: Vec<_> = RECORDINGS
        .lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect();
    assert!(!lines.is_empty(), "no {prefix}");
    lines.into_iter().map(hex).collect()
}

fn messages(bytes: &[u8]) -> Vec<Message> {
    packet::read(bytes, PORT).into_iter().map(Result::unwrap).collect()
}

fn seen(messages: &[Message]) -> [bool; 7] {
    let mut seen = [false; 7];
    for message in messages {
        let index = match message {
            Message::Ping(_) => 0,
            Message::IndirectPing(_) => 1,
            Message::Ack(_) => 2,
            Message::Nack(_) => 3,
            Message::Suspect(_) => 4,
            Message::Alive(_) => 5,
            Message::Dead(_) => 6,
            Message::User => panic!("nobody said that"),
        };
        seen[index] = true;
    }
    seen
}

// L2-73
#[test]
fn datagrams_of_go_are_written_byte_for_byte() {
    let mut all = Vec::new();
    for bytes in recorded("plain", "packet") {
        let said = messages(&bytes);
        let written = packet::compound(said.iter().map(Message::encode).collect());
        let content = if bytes[0] == kind::CRC { &bytes[5..] } else { &bytes };
        assert_eq!(written, content);
        all.extend(said);
    }
    assert_eq!(seen(&all), [true; 7], "of every kind one was recorded");
}

#[test]
fn compressed_datagrams_of_go_are_read() {
    let compressed = recorded("compressed", "packet").into_iter();
    let compressed = compressed.filter(|bytes| bytes.contains(&kind::COMPRESSED));
    let all: Vec<Message> = compressed.flat_map(|bytes| messages(&bytes)).collect();
    assert!(
        all.iter()
            .filter(|message| matches!(message, Message::Alive(_)))
            .count()
            > 3
    );
}

#[test]
fn encrypted_datagrams_of_go_are_read() {
    for bytes in recorded("encrypted", "packet") {
        let plain = keyring().open(&bytes, b"").unwrap();
        assert!(!messages(&plain).is_empty());
        assert_eq!(
            Keyring::of_secrets([b"x".as_slice()]).open(&bytes, b""),
            Err(Refusal::Decryption)
        );
    }
}

#[test]
fn streams_of_go_are_written_byte_for_byte() {
    let mut states = Vec::new();
    for bytes in recorded("plain", "stream") {
        let message = StreamMessage::decode(&bytes, PORT).unwrap();
        assert_eq!(message.encode(), bytes);
        if let StreamMessage::PushPull { nodes, .. } = message {
            states.extend(nodes.into_iter().map(|node| node.state));
        }
    }
    assert!(states.contains(&State::Alive));
}

#[test]
fn compressed_and_encrypted_streams_of_go_are_read() {
    for bytes in recorded("compressed", "stream") {
        assert!(StreamMessage::decode(&bytes, PORT).is_ok());
    }
    for bytes in recorded("encrypted", "stream") {
        assert_eq!(Framing { encrypted: true }.is_whole(&bytes), Ok(true));
        let plain = stream::open(&keyring(), &bytes).unwrap();
        assert!(StreamMessage::decode(&plain, PORT).is_ok());
        let resealed = stream::seal(&keyring(), bytes[6..18].try_into().unwrap(), plain);
        assert_eq!(resealed, bytes, "with the same nonce the same bytes");
    }
}

#[test]
fn a_stream_is_whole_with_its_last_byte() {
    for (mode, encrypted) in [("plain", false), ("compressed", false), ("encrypted", true)] {
        let framing = Framing { encrypted };
        for bytes in recorded(mode, "stream") {
            for len in 0..bytes.len() {
                assert_eq!(
                    framing.is_whole(&bytes[..len]),
                    Ok(false),
                    "{mode}, {len} of {}",
                    bytes.len()
                );
            }
            assert_eq!(framing.is_whole(&bytes), Ok(true));
        }
    }
}

#[test]
fn a_stream_that_can_never_be_read_is_refused_early() {
    let (plain, encrypted) = (Framing { encrypted: false }, Framing { encrypted: true });
    assert_eq!(encrypted.is_whole(&[kind::PUSH_PULL]), Err(Refusal::Decryption));
    assert_eq!(plain.is_whole(&[kind::ENCRYPTED]), Err(Refusal::Unexpected));
    assert_eq!(
        encrypted.is_whole(&[kind::ENCRYPTED, 2, 0, 0, 0]),
        Err(Refusal::TooLarge)
    );
    assert_eq!(plain.is_whole(&[kind::LABEL, 1, b'x']), Err(Refusal::Label));
    // A push/pull of four thousand million nodes.
    let header = [
        &[kind::PUSH_PULL, 0x81, 0xa5][..],
        b"Nodes",
        &[0xce, 255, 255, 255, 255],
    ]
    .concat();
    assert_eq!(plain.is_whole(&header), Err(Refusal::TooLarge));
}

#[test]
fn a_damaged_datagram_is_refused() {
    let packets = recorded("plain", "packet");
    let mut bytes = packets.into_iter().find(|bytes| bytes[0] == kind::CRC).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(packet::read(&bytes, PORT), [Err(Refusal::Checksum)]);
}

#[test]
fn what_is_cut_off_a_compound_does_not_spoil_the_rest() {
    let ack = Message::Ack(300).encode();
    let mut bytes = packet::compound(vec![ack.clone(), ack]);
    bytes.pop();
    assert_eq!(packet::read(&bytes, PORT), [Ok(Message::Ack(300))]);
}

#[test]
fn nesting_without_end_is_refused() {
    let mut bytes = Message::Ack(1).encode();
    for _ in 0..10 {
        bytes = packet::compound(vec![bytes, Message::Nack(2).encode()]);
    }
    assert!(packet::read(&bytes, PORT).contains(&Err(Refusal::Malformed)));
}

#[test]
fn a_bomb_is_not_unpacked() {
    // After a literal, every code may be the text before it and one byte more: 4 KiB become 8 MiB.
    let mut codes = vec![(0_u32, 9_u32)];
    let (mut high, mut width) = (258, 9);
    while high < 4095 {
        codes.push((high, width));
        high += 1;
        if high >= 1 << width && width < 12 {
            width += 1;
        }
    }
    let (mut bits, mut held, mut packed) = (0_u32, 0, Vec::new());
    for (code, width) in codes {
        bits |= code << held;
        held += width;
        while held >= 8 {
            packed.push((bits & 0xff) as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    assert_eq!(lzw::decompress(&packed, 1 << 16), Err(Refusal::TooLarge));
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz::decode(&bytes);
    }

    #[test]
    fn damaged_recordings_are_decoded_without_a_panic(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let lines: Vec<&str> = RECORDINGS.lines().filter(|line| !line.starts_with("encrypted")).collect();
        let mut bytes = hex(lines[which.index(lines.len())].rsplit(' ').next().unwrap());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        fuzz::decode(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        fuzz::decode(&bytes);
    }

    #[test]
    fn compressed_bytes_are_unpacked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let unpacked = lzw::decompress(&bytes, 1000);
        prop_assert!(unpacked.is_err() || unpacked.is_ok_and(|out| out.len() <= 1000 + 4096));
    }
}
