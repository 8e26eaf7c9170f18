//! The kernel filter that keeps a busy segment from waking us: classic BPF, as plain instructions.
//!
//! ```text
//!  EtherType = ARP ? ── no ──► drop
//!    │ yes
//!  operation = 1 ?  ── no ──────────────┐
//!    │ yes                              ▼
//!  target IP ∈ VIPs ? ── no ──► sender IP ∈ VIPs ? ── no ──► drop
//!    │ yes                              │ yes
//!    ▼                                  ▼
//!   take                              take
//! ```
//! Membership is a binary search over the sorted addresses, so that a frame costs about log₂ n comparisons.

use std::net::Ipv4Addr;

use crate::arp;

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

/// The kernel refuses longer programs (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;
/// Above this many addresses the program gets too long; all ARP frames are taken then.
const MAX_ADDRESSES: usize = 1000;
/// So many addresses are compared one after another at the leaves of the search.
const LEAF: usize = 8;

const LOAD_HALF: u16 = 0x28;
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offset of the EtherType.
const ETHER_TYPE: u32 = 12;
const ETHER_TYPE_ARP: u32 = 0x0806;
const OPERATION_REQUEST: u32 = 1;
/// Take the whole frame.
const TAKE: u32 = 0x0004_0000;
const DROP: u32 = 0;

/// Builds the filter that takes requests for one of `vips` and whatever claims to be sent by one of them.
///
/// `vips` may have any order and repetitions. Without any, nothing is taken; with too many, all ARP frames are.
#[must_use]
pub fn filter(vips: &[Ipv4Addr]) -> Vec<Instruction> {
    let mut addresses: Vec<u32> = vips.iter().copied().map(u32::from).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return vec![ret(DROP)];
    }
    if addresses.len() > MAX_ADDRESSES {
        return all_arp();
    }
    let program = exact(&addresses);
    if program.len() > MAX_INSTRUCTIONS {
        all_arp()
    } else {
        program
    }
}

/// Builds the filter that takes every ARP frame, for kernels that refuse the exact one.
#[must_use]
pub fn all_arp() -> Vec<Instruction> {
    vec![
        load(LOAD_HALF, ETHER_TYPE),
        branch(JUMP_EQUAL, ETHER_TYPE_ARP, 0, 1),
        ret(TAKE),
        ret(DROP),
    ]
}

fn exact(addresses: &[u32]) -> Vec<Instruction> {
    let targets = search(addresses, arp::TARGET_IP);
    let mut program = vec![
        load(LOAD_HALF, ETHER_TYPE),
        branch(JUMP_EQUAL, ETHER_TYPE_ARP, 1, 0),
        ret(DROP),
        load(LOAD_HALF, arp::OPERATION),
        branch(JUMP_EQUAL, OPERATION_REQUEST, 1, 0),
        skip(targets.len()),
    ];
    program.extend(targets);
    program.extend(search(addresses, arp::SENDER_IP));
    program.push(ret(DROP));
    program
}

/// Instructions that take the frame if the word at `offset` is one of `addresses`, and otherwise run on to their end.
fn search(addresses: &[u32], offset: u32) -> Vec<Instruction> {
    let mut program = vec![load(LOAD_WORD, offset)];
    program.extend(tree(addresses, 0));
    program
}

/// `behind` is the number of instructions that follow this tree up to the end of the search.
fn tree(addresses: &[u32], behind: usize) -> Vec<Instruction> {
    if addresses.len() <= LEAF {
        return leaf(addresses, behind);
    }
    let (low, high) = addresses.split_at(addresses.len() / 2);
    let high_part = tree(high, behind);
    let low_part = tree(low, behind + high_part.len());
    let mut program = match u8::try_from(low_part.len()) {
        Ok(distance) => vec![branch(JUMP_GREATER_OR_EQUAL, high[0], distance, 0)],
        // Conditional jumps reach 255 instructions; `skip` reaches all.
        Err(_) => vec![branch(JUMP_GREATER_OR_EQUAL, high[0], 0, 1), skip(low_part.len())],
    };
    program.extend(low_part);
    program.extend(high_part);
    program
}

fn leaf(addresses: &[u32], behind: usize) -> Vec<Instruction> {
    let mut program = Vec::with_capacity(addresses.len() + 2);
    let mut to_take = u8::try_from(addresses.len()).expect("a leaf is small");
    for &address in addresses {
        program.push(branch(JUMP_EQUAL, address, to_take, 0));
        to_take -= 1;
    }
    program.push(skip(behind + 1));
    program.push(ret(TAKE));
    program
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
mod tests;
