use std::net::Ipv4Addr;

use proptest::{collection::vec, prelude::*};
use smoltcp::wire::EthernetAddress;

use super::*;
use crate::{
    arp::{Form, gratuitous},
    ndp::tests::Message,
};

/// The kernel refuses longer programs (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// Runs a program as the kernel does: a load beyond the end of the frame ends it with "drop".
pub(crate) fn run(program: &[Instruction], frame: &[u8]) -> bool {
    let mut accumulator = 0_u32;
    let mut pc = 0;
    loop {
        let Instruction { code, jt, jf, k } = program[pc];
        pc += 1;
        let offset = k as usize;
        let branch = |taken: bool| usize::from(if taken { jt } else { jf });
        match code {
            LOAD_BYTE => match frame.get(offset) {
                Some(byte) => accumulator = u32::from(*byte),
                None => return false,
            },
            LOAD_HALF => match frame.get(offset..offset + 2) {
                Some(bytes) => accumulator = u32::from(u16::from_be_bytes(bytes.try_into().unwrap())),
                None => return false,
            },
            LOAD_WORD => match frame.get(offset..offset + 4) {
                Some(bytes) => accumulator = u32::from_be_bytes(bytes.try_into().unwrap()),
                None => return false,
            },
            JUMP => pc += offset,
            JUMP_EQUAL => pc += branch(accumulator == k),
            JUMP_GREATER => pc += branch(accumulator > k),
            JUMP_GREATER_OR_EQUAL => pc += branch(accumulator >= k),
            RETURN => return k != DROP,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

/// What the filter is for, said plainly.
fn wanted(ranges: &[Range], frame: &[u8]) -> bool {
    let ip = |at: u32| {
        let at = at as usize;
        frame.get(at..at + 4).map(|b| Ipv4Addr::new(b[0], b[1], b[2], b[3]))
    };
    let (Some(sender), Some(target)) = (ip(arp::SENDER_IP), ip(arp::TARGET_IP)) else {
        return false;
    };
    let within = |ip: Ipv4Addr| {
        ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&ip.to_bits()))
    };
    let is_arp = frame[12..14] == [0x08, 0x06];
    let is_request = frame[20..22] == [0, 1];
    is_arp && (is_request && within(target) || within(sender))
}

fn frame(ether_type: u16, operation: u16, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = gratuitous(Form::Request, EthernetAddress([2, 0, 0, 0, 0, 9]), target);
    frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
    frame[20..22].copy_from_slice(&operation.to_be_bytes());
    frame[28..32].copy_from_slice(&sender.octets());
    frame
}

/// Addresses from a small range, so that hits are frequent.
fn near() -> impl Strategy<Value = Ipv4Addr> {
    (0_u32..400).prop_map(|low| Ipv4Addr::from(0xC000_0200_u32 + low))
}

fn check_as_the_kernel_does(program: &[Instruction]) {
    assert!(program.len() <= MAX_INSTRUCTIONS);
    assert_eq!(program.last().unwrap().code, RETURN);
    for (at, instruction) in program.iter().enumerate() {
        let farthest = match instruction.code {
            JUMP => at + 1 + instruction.k as usize,
            JUMP_EQUAL | JUMP_GREATER | JUMP_GREATER_OR_EQUAL => {
                at + 1 + usize::from(instruction.jt.max(instruction.jf))
            }
            _ => continue,
        };
        assert!(farthest < program.len(), "instruction {at} jumps out of the program");
    }
}

/// Ranges in order, with gaps, from distinct bounds.
fn ranges(most: usize) -> impl Strategy<Value = Vec<Range>> {
    proptest::collection::btree_set(0_u32..400, 0..2 * most).prop_map(|bounds| {
        let bounds: Vec<u32> = bounds.into_iter().map(|low| 0xC000_0200 + low).collect();
        bounds.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    })
}

proptest! {
    #[test]
    fn the_filter_takes_exactly_what_is_wanted(
        ranges in ranges(60),
        ether_type in prop_oneof![8 => Just(0x0806_u16), 1 => any::<u16>()],
        operation in prop_oneof![Just(1_u16), Just(2), any::<u16>()],
        sender in near(),
        target in near(),
        length in 14_usize..=60,
    ) {
        let program = arp(&ranges);
        check_as_the_kernel_does(&program);
        for length in [length, 60] {
            let frame = &frame(ether_type, operation, sender, target)[..length];
            // A frame without a target address may be taken for its sender; the responder refuses it as malformed.
            if length >= 42 {
                prop_assert_eq!(run(&program, frame), wanted(&ranges, frame));
            }
        }
    }

    #[test]
    fn every_bound_is_found(ranges in vec(any::<u32>(), 1..200)) {
        let ranges: Vec<Range> = {
            let bounds: std::collections::BTreeSet<u32> = ranges.into_iter().collect();
            bounds.into_iter().map(|bound| (bound, bound)).collect()
        };
        let program = arp(&ranges);
        check_as_the_kernel_does(&program);
        for (vip, _) in ranges {
            let vip = Ipv4Addr::from(vip);
            prop_assert!(run(&program, &frame(0x0806, 1, Ipv4Addr::UNSPECIFIED, vip)));
            prop_assert!(run(&program, &frame(0x0806, 2, vip, Ipv4Addr::UNSPECIFIED)));
        }
    }
}

proptest! {
    #[test]
    fn the_filter_for_neighbour_discovery_takes_exactly_what_is_wanted(
        ranges in ranges(60),
        target in near(),
        kind in prop_oneof![4 => Just(135_u8), 4 => Just(136), 1 => any::<u8>()],
        hop_limit in prop_oneof![4 => Just(255_u8), 1 => any::<u8>()],
        next_header in prop_oneof![4 => Just(58_u8), 1 => any::<u8>()],
        length in 0_usize..=86,
    ) {
        let program = ndp(&ranges);
        check_as_the_kernel_does(&program);
        let target_end = target.to_bits();
        let target = (0x2001_0db8_u128 << 96 | u128::from(target_end)).into();
        let mut frame = Message { target, kind, hop_limit, ..Message::default() }.frame();
        frame[20] = next_header;
        let taken = ranges.iter().any(|(first, last)| (*first..=*last).contains(&target_end));
        let wanted = taken && matches!(kind, 135 | 136) && hop_limit == 255 && next_header == 58;
        prop_assert_eq!(run(&program, &frame), wanted);
        prop_assert_eq!(run(&program, &frame[..length]), wanted && length >= 78);
        frame[12..14].copy_from_slice(&[0x08, 0]);
        prop_assert!(!run(&program, &frame));
    }
}

#[test]
fn without_ranges_nothing_is_taken() {
    let any = Ipv4Addr::UNSPECIFIED;
    assert!(!run(&arp(&[]), &frame(0x0806, 1, any, any)));
    assert!(!run(&ndp(&[]), &Message::default().frame()));
}

#[test]
fn the_whole_of_ipv4_can_be_taken() {
    let highest = Ipv4Addr::BROADCAST;
    assert!(run(&arp(&[(0, u32::MAX)]), &frame(0x0806, 1, highest, highest)));
}
