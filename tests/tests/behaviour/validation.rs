//! Every rule of `docs/validation.md` does what the document says: its example is refused (or warned of) by that rule
//! at every stage that it names, and the good twin of the example is accepted everywhere. What the schemas refuse is
//! asked of a real API server (`tests/judges`).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use metallb_config::{Backend, Options, Resources, Rule, View, parse};
use metallb_rules::{self as rules, Effect, Entry, Stage};
use metallb_webhooks::Rules;
use metallb_webhooks::verdict::{Existing, Kind, Operation, Request, Verdict, judge};
use serde::de::DeserializeOwned;
use serde_json::Value;

use metallb_tests::rule_examples::{NAMESPACE, named, object};

fn read<K: DeserializeOwned>(value: &Value) -> K {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error} in {value}"))
}

fn aged(mut value: Value, second: usize) -> Value {
    value["metadata"]["creationTimestamp"] = format!("2026-01-01T00:00:{second:02}Z").into();
    value
}

/// The objects, each younger than the one before.
pub(crate) fn resources(objects: impl Iterator<Item = Value>) -> (Resources, Vec<Service>) {
    let mut all = Resources {
        namespace: NAMESPACE.to_owned(),
        ..Resources::default()
    };
    let mut services = Vec::new();
    for (second, object) in objects.enumerate() {
        let object = aged(object, second);
        match object["kind"].as_str().unwrap() {
            "IPAddressPool" => all.pools.push(read(&object)),
            "AddressPool" => all.address_pools.push(read(&object)),
            "L2Advertisement" => all.l2_advertisements.push(read(&object)),
            "BGPAdvertisement" => all.bgp_advertisements.push(read(&object)),
            "BGPPeer" => all.peers.push(read(&object)),
            "BFDProfile" => all.bfd_profiles.push(read(&object)),
            "Community" => all.communities.push(read(&object)),
            "Node" | "Secret" | "Service" => {
                let mut core = object.clone();
                core.as_object_mut()
                    .unwrap()
                    .retain(|key, _| key != "apiVersion" && key != "kind");
                match object["kind"].as_str().unwrap() {
                    "Node" => all.nodes.push(read(&core)),
                    "Secret" => all.secrets.push(read(&core)),
                    _ => services.push(read(&core)),
                }
            }
            kind => panic!("no example may have kind {kind}"),
        }
    }
    (all, services)
}

/// What admission says.
fn admit(entry: &Entry, operation: Operation, subject: &Value, backend: Backend) -> Verdict {
    let (object, old) = match operation {
        Operation::Delete => (Value::Null, subject.clone()),
        Operation::Update => (subject.clone(), named(entry, entry.before.unwrap())),
        _ => (subject.clone(), Value::Null),
    };
    let stored = Some(old.clone()).filter(|old| !old.is_null());
    let (current, services) = resources(entry.beside.iter().map(self::object).chain(stored));
    let request = Request {
        kind: Kind::named(entry.kinds[0]).unwrap(),
        operation,
        namespace: Some(NAMESPACE.to_owned()),
        object,
        old,
    };
    let rules = Rules {
        namespace: NAMESPACE.to_owned(),
        backend,
        ..Rules::default()
    };
    judge(
        &request,
        Existing {
            resources: &current,
            services: &services,
            announced: &[],
        },
        &rules,
    )
}

/// The rules behind what was said, with the texts.
type Said = Vec<(Rule, String)>;

fn said(entry: &Entry, stage: Stage, text: &'static str, backend: Backend) -> (Said, Said) {
    let subject = named(entry, text);
    match stage {
        Stage::Schema => unreachable!("asked of an API server"),
        Stage::Admission | Stage::Deletion => {
            let operation = match (stage, entry.before) {
                (Stage::Deletion, _) => Operation::Delete,
                (_, Some(_)) => Operation::Update,
                (_, None) => Operation::Create,
            };
            let verdict = admit(entry, operation, &subject, backend);
            let list = |problems: &[metallb_webhooks::verdict::Problem]| {
                problems
                    .iter()
                    .map(|problem| (problem.rule.unwrap(), problem.to_string()))
                    .collect::<Said>()
            };
            (list(&verdict.errors), list(&verdict.warnings))
        }
        Stage::Load => {
            let (all, _) = resources(entry.beside.iter().map(object).chain([subject]));
            let parsed = parse(
                &all,
                &Options {
                    backend,
                    view: View::Load { node: None },
                    ..Options::default()
                },
            );
            let refused = parsed
                .refused
                .iter()
                .map(|refused| (refused.rule, refused.to_string()))
                .collect();
            (
                refused,
                parsed
                    .warnings
                    .iter()
                    .map(|warning| (warning.rule, warning.to_string()))
                    .collect(),
            )
        }
    }
}

#[test]
fn every_rule_has_one_example_of_its_own() {
    let documented: Vec<Rule> = rules::all().iter().map(|entry| entry.rule).collect();
    let unique: BTreeSet<Rule> = documented.iter().copied().collect();
    assert_eq!(documented.len(), unique.len(), "a rule is listed twice");
    assert_eq!(unique, Rule::ALL.iter().copied().collect());
}

/// Every rule and weak place of upstream, by the names that this project gave them.
const UPSTREAM: &str = include_str!("rule-ids.txt");

#[test]
fn nothing_of_upstream_is_forgotten() {
    let known: BTreeSet<&str> = UPSTREAM.lines().collect();
    let ruled: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    let elsewhere: BTreeSet<&str> = rules::ELSEWHERE.iter().map(|(name, _)| *name).collect();
    assert_eq!(elsewhere.len(), rules::ELSEWHERE.len(), "a name is explained twice");
    let both: Vec<_> = ruled.intersection(&elsewhere).collect();
    assert!(both.is_empty(), "explained, and a rule: {both:?}");
    let missing: Vec<_> = known
        .iter()
        .filter(|name| !ruled.contains(*name) && !elsewhere.contains(*name))
        .collect();
    assert!(missing.is_empty(), "neither a rule nor explained: {missing:?}");
    let unknown: Vec<_> = elsewhere.difference(&known).collect();
    assert!(unknown.is_empty(), "nothing of upstream: {unknown:?}");
    let document = rules::document();
    for (name, instead) in rules::ELSEWHERE {
        assert!(
            document.contains(&format!("| {name} | {instead} |")),
            "{name} is not documented"
        );
    }
    // Names in explanations lead somewhere.
    for (name, instead) in rules::ELSEWHERE {
        for word in instead.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
            let is_name = word.split_once('-').is_some_and(|(kind, number)| {
                kind.len() <= 2 && kind.chars().all(|c| c.is_ascii_uppercase()) && number.parse::<u8>().is_ok()
            });
            assert!(
                !is_name || ruled.contains(word) || elsewhere.contains(word),
                "{name} leads to {word}"
            );
        }
    }
}

#[test]
fn every_example_is_refused_by_its_rule_and_its_twin_is_not() {
    for entry in rules::all() {
        for &backend in entry.backends {
            for &(stage, effect) in entry.at.iter().filter(|(stage, _)| *stage != Stage::Schema) {
                let context = format!("{} at {stage:?} with {backend:?}", entry.rule);
                let (refused, warned) = said(entry, stage, entry.bad, backend);
                let (heard, silent) = match effect {
                    Effect::Refused => (&refused, None),
                    Effect::Warned => (&warned, Some(&refused)),
                };
                assert!(
                    heard
                        .iter()
                        .any(|(rule, text)| *rule == entry.rule && text.contains(entry.words)),
                    "{context}: refused {refused:?}, warned {warned:?}"
                );
                assert!(silent.is_none_or(Vec::is_empty), "{context}: {silent:?}");
                let (refused, warned) = said(entry, stage, entry.good, backend);
                assert!(refused.is_empty(), "{context}, the good twin: {refused:?}");
                assert!(
                    warned.iter().all(|(rule, _)| *rule != entry.rule),
                    "{context}, the good twin: {warned:?}"
                );
            }
        }
    }
}

#[test]
fn what_upstream_refuses_for_want_of_ability_is_accepted() {
    let gone: Vec<_> = rules::all().into_iter().filter(|entry| entry.at.is_empty()).collect();
    assert!(!gone.is_empty());
    for entry in gone {
        for &backend in entry.backends {
            let (refused, _) = said(entry, Stage::Admission, entry.bad, backend);
            assert!(refused.is_empty(), "{}: {refused:?}", entry.rule);
        }
    }
}

#[test]
fn a_rule_of_some_back_ends_does_not_hold_in_the_others() {
    for entry in rules::all().into_iter().filter(|entry| !entry.at.is_empty()) {
        for backend in [Backend::Native, Backend::Frr, Backend::FrrK8s] {
            if !entry.backends.contains(&backend) {
                let (refused, _) = said(entry, Stage::Admission, entry.bad, backend);
                assert!(refused.is_empty(), "{} with {backend:?}: {refused:?}", entry.rule);
            }
        }
    }
}

#[test]
fn the_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/validation.md");
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == rules::document(),
        "docs/validation.md is out of date: run .ci/generate"
    );
}
