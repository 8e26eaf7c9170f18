//! What a router may get wrong without losing the session, and what it may not (RFC 7606).

use proptest::prelude::*;

use super::*;

fn established() -> Scripted {
    let mut peer = Scripted::new(config());
    peer.establish().take();
    peer
}

/// Frames an UPDATE that withdraws nothing and announces 192.168.0.0/32 with these attributes.
fn update(attributes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    framed(&[&[0, 0][..], &length, attributes, &hex!("20 c0a80000")].concat())
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16][..], &length, &[2], body].concat()
}

#[rstest] // BGP-80
#[case::no_attributes_at_all(&[])]
#[case::origin_of_nine(&hex!("40010109"))]
#[case::origin_without_value(&hex!("400100"))]
#[case::origin_twice(&hex!("40010100 40010100"))]
#[case::path_with_an_empty_segment(&hex!("4002020200"))]
#[case::path_of_an_unknown_segment(&hex!("4002060901 0000fbf5"))]
#[case::path_that_overruns(&hex!("4002060205 0000fbf5"))]
#[case::next_hop_of_three_octets(&hex!("400303 0a0000"))]
#[case::next_hop_zero(&hex!("400304 00000000"))]
#[case::med_with_wrong_flags(&hex!("40040400000001"))]
#[case::local_pref_of_three_octets(&hex!("400503000001"))]
#[case::atomic_aggregate_with_value(&hex!("40060100"))]
#[case::aggregator_of_five_octets(&hex!("c0070500000000 01"))]
#[case::communities_of_five_octets(&hex!("c00805fbf4000700"))]
#[case::extended_communities_of_seven_octets(&hex!("c010070002fbf4000000"))]
#[case::large_communities_of_eleven_octets(&hex!("c0200b0000fbf400000001000000"))]
#[case::reach_without_next_hop(&hex!("800e05 0002 01 00 00"))]
#[case::reach_with_an_odd_next_hop(&hex!("800e0a 0002 01 05 0000000000 00"))]
#[case::reach_with_a_prefix_of_129_bits(&hex!("800e17 0002 01 10 20010db8000000000000000000000001 00 81 20"))]
#[case::reach_twice(&hex!("800e05 0001 01 00 00 800e05 0001 01 00 00"))]
#[case::unreach_cut_short(&hex!("800f02 0002"))]
#[case::reach_of_an_unknown_family(&hex!("800e06 4004 47 01 ff 00"))]
#[case::unknown_well_known(&hex!("406300"))]
#[case::unknown_optional(&hex!("c0630101"))]
#[case::value_that_overruns_the_attributes(&hex!("4001ff00"))]
#[case::header_cut_short(&hex!("40"))]
#[case::extended_length_cut_short(&hex!("500100"))]
fn malformed_attributes_never_end_the_session(#[case] attributes: &[u8]) {
    let mut peer = established();
    // Not dead, either: what is wrong with a route has been said by somebody.
    for _ in 0..5 {
        peer.sleep(secs(5)).receive_bytes(&update(attributes));
    }
    assert_eq!(peer.state(), State::Established);
    let actions = peer.take();
    assert!(
        actions
            .iter()
            .all(|action| matches!(action, Action::Update(_) | Action::Send(_)))
    );
}

#[rstest] // BGP-80
#[case::withdrawn_overruns(&framed(&hex!("0001 0000")), &hex!("0301"))]
#[case::attributes_overrun(&framed(&hex!("0000 0001")), &hex!("0301"))]
#[case::withdrawn_prefix_of_33_bits(&framed(&hex!("0006 21 0102030405 0000")), &hex!("030a"))]
#[case::prefix_of_33_bits(&framed(&hex!("0000 0000 21 0102030405")), &hex!("030a"))]
#[case::prefix_cut_short(&framed(&hex!("0000 0000 20 01")), &hex!("030a"))]
#[case::too_short(&[&[0xff; 16][..], &hex!("0016 02 0000 00")].concat(), &hex!("0102 0016"))]
#[case::too_long(&[&[0xff; 16][..], &hex!("1001 02")].concat(), &hex!("0102 1001"))]
#[case::unknown_type(&[&[0xff; 16][..], &hex!("0013 07")].concat(), &hex!("0103 07"))]
#[case::out_of_step(&[0; 19], &hex!("0101"))]
fn broken_framing_ends_the_session_with_its_code(#[case] bytes: &[u8], #[case] answer: &[u8]) {
    let mut peer = established();
    peer.receive_bytes(bytes);
    assert_eq!(refusal(&peer.take()), answer);
}

proptest! {
    #[test] // BGP-80
    fn whatever_the_attributes_are_the_session_stays(attributes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut peer = established();
        peer.receive_bytes(&update(&attributes));
        prop_assert_eq!(peer.state(), State::Established);
    }

    #[test] // BGP-81
    fn what_is_refused_unread_is_what_could_not_be_read(mut body in prop::collection::vec(any::<u8>(), 4..60), small in any::<bool>()) {
        if small {
            // Lengths that have a chance to fit.
            (body[0], body[1]) = (0, body[1] % 8);
        }
        let read = Codec::default().decode(&crate::wire::Frame {
            kind: crate::wire::MessageType::Update,
            body: body.clone().into(),
        });
        let refused = Update::check(&body).map_err(crate::wire::DecodeError::from);
        prop_assert_eq!(refused, read.map(|_| ()));
    }
}
