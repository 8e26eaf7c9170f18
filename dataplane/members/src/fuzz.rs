//! The bodies of the fuzz targets in `tests/fuzz`, which stable tests call, too.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    Config, Event, Keyring, Members, Timing, fast, metadata,
    wire::{message::Message, packet, stream::StreamMessage},
};

const PORT: u16 = 7946;

/// Reads a datagram, also as one of the fast path, a stream, and metadata; what was understood is the same when it is written and read again.
///
/// # Panics
/// When it is not.
pub fn decode(bytes: &[u8]) {
    for message in packet::read(bytes, PORT).into_iter().flatten() {
        assert_eq!(Message::decode(&message.encode(), PORT), Ok(message));
    }
    fast::check(bytes);
    metadata::check(bytes);
    if let Ok(message) = StreamMessage::decode(bytes, PORT) {
        assert_eq!(StreamMessage::decode(&message.encode(), PORT), Ok(message));
    }
}

/// Has a member take in `bytes` by every way there is, at some time after `start`.
///
/// # Panics
/// When its own node is not alive thereafter.
pub fn member(start: Instant, bytes: &[u8]) {
    let from = SocketAddr::from(([192, 0, 2, 9], PORT));
    let config = Config {
        node: "node-0".to_owned(),
        address: SocketAddr::from(([192, 0, 2, 1], PORT)),
        timing: Timing::lan(),
        keyring: Keyring::of_keys([]),
        meta: Vec::new(),
    };
    let mut members = Members::new(config, start, |buffer| buffer.fill(7));
    let framing = members.framing();
    let _ = framing.is_whole(bytes);
    let (datagram, stream) = (bytes.to_vec(), bytes.to_vec());
    members.handle(start, Event::Datagram { from, bytes: datagram });
    let request = Event::Request {
        id: 1,
        from,
        bytes: stream,
    };
    members.handle(start, request);
    members.handle(start, Event::Meta(bytes.to_vec()));
    let _ = members.metadata();
    for seconds in 1..60 {
        members.handle(start + Duration::from_secs(seconds), Event::Tick);
    }
    assert!(members.alive().contains("node-0"));
}
