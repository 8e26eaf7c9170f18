//! The bodies of the fuzz targets in `tests/fuzz`, which stable tests call, too.

use metallb_config::{AddressRange, Resources};

use crate::review::{answer_conversion, open_admission, seal_admission};
use crate::verdict::{Kind, Rules, judge};

/// Decodes, judges and answers whatever it is given, as a review of every kind.
///
/// # Panics
/// When an answer does not belong to its question: that is what fuzzing looks for.
pub fn review(body: &[u8]) {
    let resources = Resources::default();
    let rules = Rules {
        namespace: "metallb-system".to_owned(),
        ..Rules::default()
    };
    for kind in Kind::ALL.into_iter().map(Some).chain([None]) {
        let Ok((envelope, request)) = open_admission(body, kind) else {
            continue;
        };
        let verdict = judge(&request, &resources, &rules);
        let answer = seal_admission(envelope, &verdict);
        assert_eq!(answer["response"]["allowed"], verdict.allowed());
        assert!(answer["response"]["uid"].is_string());
        assert_eq!(
            verdict.allowed(),
            verdict.message().is_empty(),
            "a refusal has a reason"
        );
    }
    if let Ok(answer) = answer_conversion(body) {
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("an answer is JSON");
        assert!(answer["response"]["result"]["status"].is_string());
    }
}

/// Parses whatever it is given as an entry of `spec.addresses`, and what it prints again.
///
/// # Panics
/// When what was printed means something else.
pub fn address(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(range) = AddressRange::parse(text) else { return };
    assert!(range.first() <= range.last());
    assert_eq!(AddressRange::parse(&range.to_string()), Ok(range));
    assert!(!range.cidrs().is_empty());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// JSON of any shape.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[0-9a-z:./-]{0,12}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            Just("metadata".to_owned()),
            Just("name".to_owned()),
            Just("spec".to_owned()),
            Just("addresses".to_owned()),
            Just("communities".to_owned()),
            Just("nodeSelectors".to_owned()),
            Just("matchExpressions".to_owned()),
            Just("holdTime".to_owned()),
            "[a-z]{1,6}",
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    fn operation() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["CREATE", "UPDATE", "DELETE", "CONNECT"])
    }

    proptest! {
        // All the fuzzing there is on a stable toolchain: `.ci/run fuzz` draws many more, by PROPTEST_CASES.

        #[test]
        fn no_bytes_make_the_decoder_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            review(&body);
        }

        #[test]
        fn no_object_makes_the_verdict_panic(object in json(), old in json(), operation in operation()) {
            let kind = json!({ "kind": "IPAddressPool" });
            let request = json!({ "uid": "u", "kind": kind, "operation": operation, "namespace": "metallb-system",
                "object": object, "oldObject": old });
            let body = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
            review(body.to_string().as_bytes());
        }

        #[test]
        fn no_objects_make_the_conversion_panic(objects in prop::collection::vec(json(), 0..3), to in "metallb.io/v1(beta[12])?") {
            let request = json!({ "uid": "u", "desiredAPIVersion": to, "objects": objects });
            let body = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": request });
            review(body.to_string().as_bytes());
        }

        #[test]
        fn a_review_that_is_cut_off_is_none(cut in 1usize..60) {
            let body = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": { "uid": "u" } }).to_string();
            let cut = &body.as_bytes()[..body.len().saturating_sub(cut)];
            prop_assert!(open_admission(cut, Some(Kind::BgpPeer)).is_err());
        }

        #[test]
        fn addresses_mean_what_they_print(text in "[0-9a-f:./% -]{0,40}") {
            address(text.as_bytes());
        }
    }
}
