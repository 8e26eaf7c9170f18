//! Every way in which a message can be wrong, and the answer that its RFC wants.

use proptest::prelude::*;

use super::{opening::framed, *};
use crate::fuzz;

/// Version, AS, hold time and identifier of a good OPEN.
const FIXED: &str = "04 fbf5 005a 0a000002";

/// Makes a message of a type around its body, which is written in hexadecimal.
fn message(kind: u8, body: &str) -> Vec<u8> {
    let body = octets(body);
    let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16][..], &length, &[kind], &body].concat()
}

fn octets(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    let octet = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

/// Sessions that have got as far as each state in which bytes can arrive.
fn in_state(state: State) -> Scripted {
    let mut peer = Scripted::new(config());
    match state {
        State::OpenSent => peer.connect(),
        State::OpenConfirm => peer.open(),
        _ => peer.establish(),
    };
    assert_eq!(peer.state(), state);
    peer.take();
    peer
}

#[rstest] // BGP-53
fn a_broken_header_is_answered_in_every_state(
    #[values(State::OpenSent, State::OpenConfirm, State::Established)] state: State,
    #[values(
        ("marker", "00ffffffffffffffffffffffffffffff 0013 04", "0101"),
        ("last octet of the marker", "fffffffffffffffffffffffffffffffe 0013 04", "0101"),
        ("length below a header", "ffffffffffffffffffffffffffffffff 0012 04", "0102 0012"),
        ("length zero", "ffffffffffffffffffffffffffffffff 0000 02", "0102 0000"),
        ("length above the largest", "ffffffffffffffffffffffffffffffff 1001 02", "0102 1001"),
        ("OPEN too short", "ffffffffffffffffffffffffffffffff 001c 01", "0102 001c"),
        ("UPDATE too short", "ffffffffffffffffffffffffffffffff 0016 02", "0102 0016"),
        ("NOTIFICATION too short", "ffffffffffffffffffffffffffffffff 0014 03", "0102 0014"),
        ("KEEPALIVE too long", "ffffffffffffffffffffffffffffffff 0014 04", "0102 0014"),
        ("type zero", "ffffffffffffffffffffffffffffffff 0013 00", "0103 00"),
        ("unknown type", "ffffffffffffffffffffffffffffffff 0013 06", "0103 06"),
        ("type 255", "ffffffffffffffffffffffffffffffff 0013 ff", "0103 ff")
    )]
    (what, bytes, answer): (&str, &str, &str),
) {
    let mut peer = in_state(state);
    peer.receive_bytes(&octets(bytes));
    assert_eq!(refusal(&peer.take()), octets(answer), "{what}");
}

#[rstest] // BGP-53, BGP-56
#[case::version_3("03 fbf5 005a 0a000002 00", "0201 0004")]
#[case::version_5("05 fbf5 005a 0a000002 00", "0201 0004")]
#[case::as_zero("04 0000 005a 0a000002 00", "0202 0000")]
#[case::as_zero_in_four_octets("04 5ba0 005a 0a000002 08 0206 4104 00000000", "0202 00000000")]
#[case::as_trans_alone("04 5ba0 005a 0a000002 00", "0202 5ba0")]
#[case::other_as_in_four_octets("04 fbf5 005a 0a000002 08 0206 4104 0001fbf5", "0202 0001fbf5")]
#[case::identifier_zero("04 fbf5 005a 00000000 00", "0203")]
#[case::hold_time_of_one_second("04 fbf5 0001 0a000002 00", "0206")]
#[case::hold_time_of_two_seconds("04 fbf5 0002 0a000002 00", "0206")]
#[case::authentication("04 fbf5 005a 0a000002 03 0101 00", "0204")]
#[case::unknown_parameter("04 fbf5 005a 0a000002 02 0700", "0204")]
#[case::no_length_of_parameters_but_parameters("04 fbf5 005a 0a000002 00 0200", "0200")]
#[case::more_parameters_than_octets("04 fbf5 005a 0a000002 04 0200", "0200")]
#[case::parameter_without_length("04 fbf5 005a 0a000002 01 02", "0200")]
#[case::parameter_overruns("04 fbf5 005a 0a000002 03 0202 01", "0200")]
#[case::capability_without_length("04 fbf5 005a 0a000002 03 0201 41", "0200")]
#[case::capability_overruns("04 fbf5 005a 0a000002 06 0204 4104 0000", "0200")]
#[case::extended_length_cut_short("04 fbf5 005a 0a000002 ff ff 00", "0200")]
#[case::extended_length_overruns("04 fbf5 005a 0a000002 ff ff 0010 02 0000", "0200")]
#[case::extended_parameter_overruns("04 fbf5 005a 0a000002 ff ff 0003 02 0001", "0200")]
#[case::unknown_extended_parameter("04 fbf5 005a 0a000002 ff ff 0003 07 0000", "0204")]
fn a_broken_open_is_answered_with_its_code(#[case] body: &str, #[case] answer: &str) {
    let mut peer = in_state(State::OpenSent);
    peer.receive_bytes(&message(1, body));
    assert_eq!(refusal(&peer.take()), octets(answer));
}

#[rstest] // BGP-55
#[case::no_parameters("00")]
#[case::parameter_without_capabilities("02 0200")]
#[case::unknown_capability("06 0204 c802 0001")]
#[case::deprecated_capability("04 0202 8000")]
#[case::capability_zero("04 0202 0000")]
#[case::the_same_twice("10 020e 0104 00010001 0104 00010001 0200")]
#[case::each_in_its_own_parameter("0c 0206 0104 00010001 0202 0200")]
#[case::multiprotocol_of_three_octets("07 0205 0103 000100")]
#[case::multiprotocol_of_five_octets("09 0207 0105 0001000100")]
#[case::family_that_nobody_knows("08 0206 0104 ffff00ff")]
#[case::four_octet_as_of_three_octets("07 0205 4103 00fbf5")]
#[case::refresh_with_a_value("05 0203 0201 00")]
#[case::next_hop_of_five_octets("09 0207 0505 0001000100")]
#[case::extended_message_with_a_value("05 0203 0601 00")]
#[case::graceful_restart_of_one_octet("05 0203 4001 00")]
#[case::graceful_restart_with_half_a_family("08 0206 4004 0078 0001")]
#[case::name_that_overruns_its_capability("06 0204 4902 ff61")]
#[case::add_path_of_any_kind("08 0206 4504 000101ff")]
#[case::extended_length("ff ff 0009 02 0006 4104 0000fbf5")]
#[case::extended_length_without_need("ff ff 0000")]
fn an_odd_capability_is_ignored(#[case] parameters: &str) {
    let mut peer = in_state(State::OpenSent);
    peer.receive_bytes(&message(1, &format!("{FIXED} {parameters}")));
    peer.receive(&Message::Keepalive);
    assert_eq!(peer.state(), State::Established, "{:?}", peer.take());
}

#[rstest] // BGP-54
#[case(State::OpenSent, 2, "0000 0000", "0501 02")]
#[case(State::OpenSent, 4, "", "0501 04")]
#[case(State::OpenSent, 5, "0001 0001", "0501 05")]
#[case(State::OpenConfirm, 1, "04 fbf5 005a 0a000002 00", "0502 01")]
#[case(State::OpenConfirm, 2, "0000 0000", "0502 02")]
#[case(State::OpenConfirm, 5, "0001 0001", "0502 05")]
#[case(State::Established, 1, "04 fbf5 005a 0a000002 00", "0503 01")]
// What is wrong inside matters less than that nobody may say it now.
#[case::broken_inside(State::OpenSent, 2, "ffff 0000", "0501 02")]
#[case::broken_inside(State::OpenConfirm, 1, "03 fbf5 005a 0a000002 00", "0502 01")]
#[case::broken_inside(State::OpenConfirm, 2, "0000 0000 21 0102030405", "0502 02")]
#[case::broken_inside(State::Established, 1, "03 fbf5 005a 0a000002 00", "0503 01")]
fn a_message_out_of_turn_is_answered_by_state(
    #[case] state: State,
    #[case] kind: u8,
    #[case] body: &str,
    #[case] answer: &str,
) {
    let mut peer = in_state(state);
    peer.receive_bytes(&message(kind, body));
    assert_eq!(refusal(&peer.take()), octets(answer));
}

#[rstest] // BGP-80
#[case::withdrawn_overrun("0001 0000", "0301")]
#[case::attributes_overrun("0000 0001", "0301")]
#[case::attributes_overrun_by_the_most("0000 ffff", "0301")]
#[case::no_length_of_attributes("0002 0800", "0301")]
#[case::announced_prefix_of_33_bits("0000 0000 21 0102030405", "030a")]
#[case::announced_prefix_cut_short("0000 0000 20 010203", "030a")]
#[case::announced_prefix_of_255_bits("0000 0000 ff 01", "030a")]
#[case::withdrawn_prefix_of_33_bits("0006 21 0102030405 0000", "030a")]
#[case::withdrawn_prefix_cut_short("0002 1001 0000", "030a")]
fn an_update_whose_parts_cannot_be_told_apart_ends_the_session(#[case] body: &str, #[case] answer: &str) {
    let mut peer = in_state(State::Established);
    peer.receive_bytes(&message(2, body));
    assert_eq!(refusal(&peer.take()), octets(answer));
}

#[rstest] // BGP-80
#[case::no_attributes("")]
#[case::only_flags("40")]
#[case::no_length("4001")]
#[case::extended_length_cut_short("5001 00")]
#[case::value_overruns("4001 05 00")]
#[case::attribute_of_type_zero("4000 00")]
#[case::origin_without_value("4001 00")]
#[case::origin_of_two_octets("4001 02 0000")]
#[case::origin_3("4001 01 03")]
#[case::origin_that_is_optional("c001 01 00")]
#[case::the_same_twice("4001 01 00 4001 01 02")]
#[case::path_with_half_a_segment("4002 01 02")]
#[case::path_that_overruns("4002 02 0201")]
#[case::path_of_an_unknown_kind("4002 06 0501 0000fbf5")]
#[case::path_with_an_empty_segment("4002 02 0200")]
#[case::path_through_as_zero("4002 06 0201 00000000")]
#[case::next_hop_of_three_octets("4003 03 0a0000")]
#[case::next_hop_that_is_none("4003 04 ffffffff")]
#[case::med_of_five_octets("8004 05 0000000000")]
#[case::med_that_is_transitive("c004 04 00000000")]
#[case::local_preference_of_three_octets("4005 03 000000")]
#[case::local_preference_from_outside("4005 04 00000064")]
#[case::atomic_aggregate_with_a_value("4006 01 00")]
#[case::aggregator_of_seven_octets("c007 07 00000000000000")]
#[case::communities_of_three_octets("c008 03 000000")]
#[case::no_communities("c008 00")]
#[case::originator_of_five_octets("8009 05 0000000000")]
#[case::cluster_list_of_three_octets("800a 03 000000")]
#[case::extended_communities_of_seven_octets("c010 07 00000000000000")]
#[case::large_communities_of_eleven_octets("c020 0b 0000000000000000000000")]
#[case::four_octet_path_that_overruns("c011 02 0201")]
#[case::reach_without_family("800e 01 00")]
#[case::reach_with_a_next_hop_of_five_octets("800e 09 000201 05 0102030405")]
#[case::reach_whose_next_hop_overruns("800e 04 000201 20")]
#[case::reach_with_a_prefix_of_129_bits("800e 16 000201 10 20010db8000000000000000000000001 00 81")]
#[case::reach_of_an_unknown_family("800e 06 ffffff 00 00 00")]
#[case::unreach_without_family("800f 02 0002")]
#[case::unreach_with_a_prefix_cut_short("800f 05 000201 8020")]
#[case::unknown_and_well_known("4063 00")]
#[case::unknown_and_optional("8063 01 00")]
#[case::unknown_flags("4f01 0001 00")]
fn a_malformed_attribute_does_not_end_the_session(#[case] attributes: &str) {
    let mut peer = in_state(State::Established);
    let length = octets(attributes).len();
    peer.receive_bytes(&message(2, &format!("0000 {length:04x} {attributes} 20 c0a80001")));
    assert_eq!(peer.state(), State::Established, "{:?}", peer.take());
    assert!(peer.sent().is_empty());
}

#[rstest]
#[case::unknown_code("ff 00")]
#[case::code_zero("00 00")]
#[case::unknown_subcode("06 ff")]
#[case::communication_that_overruns("0602 ff 6279")]
#[case::communication_that_is_no_text("0602 02 ff fe")]
#[case::communication_with_control_characters("0602 04 0a0d001b")]
#[case::communication_without_length("0602")]
#[case::hard_reset_without_reason("0609")]
#[case::capabilities_that_overrun("0207 41ff")]
#[case::long_data(concat!("0602 03 627965", "00000000000000000000000000000000000000000000000000000000000000"))]
fn no_notification_is_answered(
    #[values(State::OpenSent, State::OpenConfirm, State::Established)] state: State,
    #[case] body: &str,
) {
    let mut peer = in_state(state);
    peer.receive_bytes(&message(3, body));
    let actions = peer.take();
    assert!(peer.session.negotiated().is_none(), "the session has ended");
    assert!(
        !actions.iter().any(|action| matches!(action, Action::Send(_))),
        "{actions:?}"
    );
    let reasons: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Down(reason) => Some(reason.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(reasons.len(), 1);
    // It goes into logs and events.
    assert!(!reasons[0].contains(char::is_control), "{reasons:?}");
}

#[test] // BGP-81
fn what_follows_a_fault_is_not_read() {
    let mut peer = in_state(State::Established);
    let bytes = [framed(&hex!("0013 09")), message(2, "0000 0000 21"), message(4, "")].concat();
    peer.receive_bytes(&bytes);
    assert_eq!(refusal(&peer.take()), hex!("0103 09"));
}

/// Parts as [`fuzz::session`] cuts them: messages with a good header and any body, damaged ones, and any bytes.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..60);
    let framed = (0..7_u8, body).prop_map(|(kind, body)| {
        let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
        [&[0xff; 16][..], &length, &[kind], &body].concat()
    });
    let part = prop_oneof![4 => framed, 1 => prop::collection::vec(any::<u8>(), 0..60)];
    let cut = part.prop_map(|part| [&[u8::try_from(part.len()).unwrap()][..], &part].concat());
    prop::collection::vec(cut, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test] // BGP-81
    fn no_bytes_make_a_session_panic(bytes in parts()) {
        fuzz::session(start(), &bytes);
    }

    #[test] // BGP-81
    fn no_bytes_make_the_decoder_panic(bytes in parts()) {
        fuzz::decode(&bytes);
        // Without the octets that cut.
        fuzz::decode(bytes.get(1..).unwrap_or_default());
    }
}
