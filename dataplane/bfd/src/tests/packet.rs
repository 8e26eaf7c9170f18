//! The wire format.

use hex_literal::hex;
use proptest::prelude::*;
use rstest::rstest;

use crate::{Control, Diagnostic, Refusal, State, echo::Echo, fuzz};

/// Up, 70 and 60 ms, multiplier 5, echo 50 ms: what FRR sends.
const FRR_UP: [u8; 24] = hex!("20c00518 58970880 9bfa45da 00011170 0000ea60 0000c350");

fn frr_up() -> Control {
    Control {
        diagnostic: Diagnostic::None,
        state: State::Up,
        poll: false,
        final_: false,
        independent: false,
        demand: false,
        multiplier: 5,
        my_discriminator: 0x5897_0880,
        your_discriminator: 0x9bfa_45da,
        desired_min_tx: 70_000,
        required_min_rx: 60_000,
        required_min_echo_rx: 50_000,
    }
}

#[rstest]
#[case(FRR_UP, frr_up())]
#[case(
    hex!("21680318 00000001 00000000 000f4240 000493e0 00000000"),
    Control {
        diagnostic: Diagnostic::TimeExpired,
        state: State::Down,
        poll: true,
        independent: true,
        multiplier: 3,
        my_discriminator: 1,
        your_discriminator: 0,
        desired_min_tx: 1_000_000,
        required_min_rx: 300_000,
        required_min_echo_rx: 0,
        ..frr_up()
    }
)]
#[case(
    hex!("27120118 ffffffff 00000001 ffffffff 00000000 00000000"),
    Control {
        diagnostic: Diagnostic::AdminDown,
        state: State::AdminDown,
        final_: true,
        demand: true,
        multiplier: 1,
        my_discriminator: u32::MAX,
        your_discriminator: 1,
        desired_min_tx: u32::MAX,
        required_min_rx: 0,
        required_min_echo_rx: 0,
        ..frr_up()
    }
)]
fn bytes_and_meaning_agree(#[case] bytes: [u8; 24], #[case] packet: Control) {
    assert_eq!(Control::decode(&bytes), Ok(packet));
    assert_eq!(packet.encode(), bytes);
}

// RFC 5880 §6.8.6, in its order.
#[rstest]
#[case(0, 0x00, Refusal::Version)]
#[case(0, 0x40, Refusal::Version)]
#[case(3, 23, Refusal::Length)]
#[case(3, 25, Refusal::Length)]
#[case(2, 0, Refusal::Multiplier)]
#[case(1, 0xc1, Refusal::Multipoint)]
#[case(1, 0xc4, Refusal::Authentication)]
fn a_wrong_octet_is_refused(#[case] at: usize, #[case] octet: u8, #[case] reason: Refusal) {
    let mut bytes = FRR_UP;
    bytes[at] = octet;
    assert_eq!(Control::decode(&bytes), Err(reason));
}

#[test]
fn discriminators_must_be_there() {
    let nobody = Control {
        my_discriminator: 0,
        ..frr_up()
    };
    assert_eq!(Control::decode(&nobody.encode()), Err(Refusal::MyDiscriminator));
    for (state, accepted) in [
        (State::AdminDown, true),
        (State::Down, true),
        (State::Init, false),
        (State::Up, false),
    ] {
        let packet = Control {
            your_discriminator: 0,
            state,
            ..frr_up()
        };
        assert_eq!(Control::decode(&packet.encode()).is_ok(), accepted, "{state}");
    }
}

#[test]
fn a_short_packet_is_refused_and_a_long_one_is_cut() {
    for len in 0..24 {
        assert_eq!(Control::decode(&FRR_UP[..len]), Err(Refusal::TooShort));
    }
    assert_eq!(Control::decode(&[&FRR_UP[..], b"padding"].concat()), Ok(frr_up()));
}

proptest! {
    #[test]
    fn the_decoder_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        fuzz::decode(&bytes);
        let _ = Echo::decode(&bytes);
    }

    /// Mostly acceptable, so that what comes after the first checks is reached.
    #[test]
    fn no_sequence_of_packets_makes_a_session_panic(
        packets in prop::collection::vec(
            (any::<[u8; 5]>(), prop_oneof![Just(0_u32), Just(0x0101_0101), any::<u32>()], any::<[u32; 3]>(), any::<bool>()),
            0..24,
        )
    ) {
        let bytes: Vec<u8> = packets.iter().flat_map(|(head, your, rates, small)| {
            let rates = rates.map(|rate| if *small { rate % 100_000 } else { rate });
            let mut packet = [0; 24];
            packet[..4].copy_from_slice(&[0x20 | head[0] & 0x1f, head[1] & 0xfa, head[2].max(1), 24]);
            packet[7] = head[3].max(1);
            packet[8..12].copy_from_slice(&your.to_be_bytes());
            for (place, rate) in packet[12..].chunks_exact_mut(4).zip(rates) {
                place.copy_from_slice(&rate.to_be_bytes());
            }
            packet
        }).collect();
        fuzz::session(super::some_time(), &bytes);
    }
}
