//! The kernel filter that drops frames we need not see: classic BPF, as plain instructions.
//!
//! ```text
//!  EtherType = ARP ? ── no ──► drop
//!    │ yes
//!  operation = 1 ?  ── no ────────────────┐
//!    │ yes                                ▼
//!  target IP ∈ ranges ? ── no ──► sender IP ∈ ranges ? ── no ──► drop
//!    │ yes                                │ yes
//!    ▼                                    ▼
//!   take                                take
//! ```
//! Membership is a binary search, so that a frame costs about log₂ n comparisons of n ranges. For neighbour discovery the
//! last 32 bits of the target are compared, in solicitations and advertisements alike.

use crate::{arp, cover::Range, ndp};

/// One instruction of classic BPF, laid out as the kernel's `sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the condition holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offset of the EtherType.
const ETHER_TYPE: u32 = 12;
const ETHER_TYPE_ARP: u32 = 0x0806;
const ETHER_TYPE_IPV6: u32 = 0x86dd;
const OPERATION_REQUEST: u32 = 1;
/// Take the whole frame.
const TAKE: u32 = 0x0004_0000;
const DROP: u32 = 0;

/// Takes every frame of the socket's EtherType, for kernels that refuse the exact program.
pub const TAKE_ALL: [Instruction; 1] = [Instruction {
    code: RETURN,
    jt: 0,
    jf: 0,
    k: TAKE,
}];

/// Builds the filter that takes requests for an address in `ranges` and whatever claims to be sent by one of them.
///
/// The ranges are in order and do not touch. Without any, nothing is taken.
pub(crate) fn arp(ranges: &[Range]) -> Vec<Instruction> {
    if ranges.is_empty() {
        return vec![ret(DROP)];
    }
    let targets = search(ranges, arp::TARGET_IP);
    let mut program = vec![
        load(LOAD_HALF, ETHER_TYPE),
        branch(JUMP_EQUAL, ETHER_TYPE_ARP, 1, 0),
        ret(DROP),
        load(LOAD_HALF, arp::OPERATION),
        branch(JUMP_EQUAL, OPERATION_REQUEST, 1, 0),
        skip(targets.len()),
    ];
    program.extend(targets);
    program.extend(search(ranges, arp::SENDER_IP));
    program.push(ret(DROP));
    program
}

/// Builds the filter that takes solicitations and advertisements of targets in `ranges`, which are as those of [`arp`].
pub(crate) fn ndp(ranges: &[Range]) -> Vec<Instruction> {
    if ranges.is_empty() {
        return vec![ret(DROP)];
    }
    let mut program = Vec::new();
    for (load, wanted) in [
        (load(LOAD_HALF, ETHER_TYPE), ETHER_TYPE_IPV6),
        (load(LOAD_BYTE, ndp::NEXT_HEADER), ndp::NEXT_HEADER_ICMP.into()),
        (load(LOAD_BYTE, ndp::HOP_LIMIT_AT), ndp::HOP_LIMIT.into()),
    ] {
        program.extend([load, branch(JUMP_EQUAL, wanted, 1, 0), ret(DROP)]);
    }
    program.extend([
        load(LOAD_BYTE, ndp::TYPE),
        branch(JUMP_EQUAL, ndp::SOLICITATION.into(), 2, 0),
        branch(JUMP_EQUAL, ndp::ADVERTISEMENT.into(), 1, 0),
        ret(DROP),
    ]);
    program.extend(search(ranges, ndp::TARGET_END));
    program.push(ret(DROP));
    program
}

/// Instructions that take the frame if the word at `offset` is in one of `ranges`, and otherwise run on to their end.
fn search(ranges: &[Range], offset: u32) -> Vec<Instruction> {
    let mut program = vec![load(LOAD_WORD, offset)];
    program.extend(tree(ranges, 0));
    program
}

/// `behind` is the number of instructions that follow this tree up to the end of the search.
fn tree(ranges: &[Range], behind: usize) -> Vec<Instruction> {
    if let [range] = ranges {
        return leaf(*range, behind);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let high_part = tree(high, behind);
    let low_part = tree(low, behind + high_part.len());
    let mut program = match u8::try_from(low_part.len()) {
        Ok(distance) => vec![branch(JUMP_GREATER_OR_EQUAL, high[0].0, distance, 0)],
        // Conditional jumps reach 255 instructions; `skip` reaches all.
        Err(_) => vec![branch(JUMP_GREATER_OR_EQUAL, high[0].0, 0, 1), skip(low_part.len())],
    };
    program.extend(low_part);
    program.extend(high_part);
    program
}

fn leaf((first, last): Range, behind: usize) -> Vec<Instruction> {
    vec![
        branch(JUMP_GREATER_OR_EQUAL, first, 0, 2),
        branch(JUMP_GREATER, last, 1, 0),
        ret(TAKE),
        skip(behind),
    ]
}

fn load(code: u16, offset: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k: offset,
    }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn skip(distance: usize) -> Instruction {
    let k = u32::try_from(distance).expect("a program has at most thousands of instructions");
    Instruction {
        code: JUMP,
        jt: 0,
        jf: 0,
        k,
    }
}

fn ret(k: u32) -> Instruction {
    Instruction {
        code: RETURN,
        jt: 0,
        jf: 0,
        k,
    }
}

#[cfg(test)]
pub(crate) mod tests;
