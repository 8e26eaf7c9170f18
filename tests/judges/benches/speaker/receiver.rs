//! A BGP router that notes when it hears what. It is none of ours: it knows as much of RFC 4271 as it takes to be told
//! IPv4 prefixes, in a thread that does nothing else, so that its notes are in time.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The AS number of the router.
pub(crate) const ASN: u16 = 64501;
/// Its identifier; that of no speaker.
const ROUTER_ID: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

const HEADER: usize = 19;
const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;

/// What was heard, and when it had been read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard {
    /// An OPEN: a session begins.
    Open(Instant),
    /// An address to reach.
    Announced(Ipv4Addr, Instant),
    /// An address that can be reached no more.
    Withdrawn(Ipv4Addr),
    /// The session has ended.
    Closed,
}

/// Listens for speakers, one after the other.
pub(crate) fn listen(at: SocketAddrV4) -> Result<UnboundedReceiver<Heard>> {
    let listener = TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))?;
    let (sender, receiver) = unbounded_channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A speaker that is killed ends its session in any way.
            let _ = converse(stream, &sender);
            let _ = sender.send(Heard::Closed);
        }
    });
    Ok(receiver)
}

fn converse(mut stream: TcpStream, heard: &UnboundedSender<Heard>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone()?);
    loop {
        let (kind, body) = read_message(&mut reader)?;
        let now = Instant::now();
        match kind {
            OPEN => {
                heard.send(Heard::Open(now))?;
                stream.write_all(&open(&body)?)?;
                stream.write_all(&message(KEEPALIVE, &[]))?;
            }
            // Theirs come often enough for ours.
            KEEPALIVE => stream.write_all(&message(KEEPALIVE, &[]))?,
            UPDATE => {
                let (withdrawn, announced) = routes(&body)?;
                for address in prefixes(withdrawn)? {
                    heard.send(Heard::Withdrawn(address))?;
                }
                for address in prefixes(announced)? {
                    heard.send(Heard::Announced(address, now))?;
                }
            }
            NOTIFICATION => return Ok(()),
            _ => {}
        }
    }
}

fn read_message(reader: &mut impl Read) -> Result<(u8, Vec<u8>)> {
    let mut header = [0; HEADER];
    reader.read_exact(&mut header)?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let mut body = vec![
        0;
        length
            .checked_sub(HEADER)
            .context("a length below that of the header")?
    ];
    reader.read_exact(&mut body)?;
    Ok((header[18], body))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// Answers an OPEN, with the other's hold time and the capabilities of IPv4 unicast and 4-octet AS numbers.
fn open(theirs: &[u8]) -> Result<Vec<u8>> {
    let hold_time = theirs.get(3..5).context("a short OPEN")?;
    let asn = u32::from(ASN).to_be_bytes();
    let capabilities = [&[1, 4, 0, 1, 0, 1, 65, 4][..], &asn].concat();
    let length = u8::try_from(capabilities.len())?;
    let start = [&[4][..], &ASN.to_be_bytes(), hold_time, &ROUTER_ID.octets()].concat();
    let body = [&start[..], &[length + 2, 2, length], &capabilities].concat();
    Ok(message(OPEN, &body))
}

/// The withdrawn routes of an UPDATE, and those announced.
fn routes(update: &[u8]) -> Result<(&[u8], &[u8])> {
    let (withdrawn, rest) = counted(update)?;
    let (_attributes, announced) = counted(rest)?;
    Ok((withdrawn, announced))
}

fn counted(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(2).context("a short UPDATE")?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    rest.split_at_checked(length).context("a short UPDATE")
}

fn prefixes(mut bytes: &[u8]) -> Result<Vec<Ipv4Addr>> {
    let mut found = Vec::new();
    while let Some((bits, rest)) = bytes.split_first() {
        let (prefix, rest) = rest
            .split_at_checked(usize::from(bits.div_ceil(8)))
            .context("a short prefix")?;
        ensure!(prefix.len() <= 4, "no prefix of IPv4");
        let mut octets = [0; 4];
        octets[..prefix.len()].copy_from_slice(prefix);
        found.push(Ipv4Addr::from(octets));
        bytes = rest;
    }
    Ok(found)
}
