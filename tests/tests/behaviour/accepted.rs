//! What the parser accepts every component can build from: the controller its pools, the speaker its sessions.

use std::cell::Cell;
use std::collections::BTreeSet;

use metallb_assign::Pools;
use metallb_config::{Backend, Options, Resources, View, parse};
use metallb_engine::{Effect, Engine, Event, Settings};
use metallb_rules as rules;
use proptest::prelude::*;
use serde_json::Value;

use crate::validation::resources;
use metallb_tests::rule_examples::{named, object};

const NODE: &str = "rack-1";

fn options(node: Option<&str>) -> Options {
    Options {
        view: View::Load {
            node: node.map(ToOwned::to_owned),
        },
        ..Options::default()
    }
}

fn entries() -> impl Iterator<Item = &'static rules::Entry> {
    let entries = rules::all().into_iter().filter(|entry| entry.kinds[0] != "MetalLB");
    entries.filter(|entry| entry.backends.contains(&Backend::Native))
}

/// The good twin of each example among the objects beside it, where all of them are accepted.
fn accepted() -> Vec<(String, Resources)> {
    let mixed = entries().map(|entry| {
        let (all, _) = resources(entry.beside.iter().map(object).chain([named(entry, entry.good)]));
        (entry.rule.to_string(), all)
    });
    mixed
        .filter(|(_, all)| parse(all, &options(None)).refused.is_empty())
        .collect()
}

/// Good and bad examples of any rules in one cluster, in any order, of few names.
fn mixed() -> impl Strategy<Value = Resources> {
    let all = entries().flat_map(|entry| {
        let own = [named(entry, entry.good), named(entry, entry.bad)];
        entry.beside.iter().map(object).chain(own).collect::<Vec<_>>()
    });
    let one = (prop::sample::select(all.collect::<Vec<_>>()), 0..4);
    prop::collection::vec(one, 1..25).prop_map(|list| {
        let mut chosen: Vec<Value> = Vec::new();
        for (mut object, copy) in list {
            if copy > 0 {
                let name = object["metadata"]["name"].as_str().unwrap();
                object["metadata"]["name"] = format!("{name}-{copy}").into();
            }
            let id = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
            chosen.retain(|other| id(other) != id(&object));
            chosen.push(object);
        }
        resources(chosen.into_iter()).0
    })
}

/// How many pools were accepted; the controller uses exactly these, to give addresses.
fn pools_in_use(all: &Resources) -> usize {
    let mut wanted = parse(all, &options(None)).config.pools;
    for pool in wanted.values_mut() {
        // Who announces is nothing to the allocator.
        (pool.l2, pool.bgp) = (Vec::new(), Vec::new());
    }
    let used = Pools::new(Backend::Native, false).load(all).accepted;
    assert_eq!(used.unwrap_or_default().pools, wanted);
    wanted.len()
}

/// How many peers were accepted, and what is wrong with the rest; each has a session.
fn sessions(all: &Resources) -> (usize, Vec<String>) {
    let wanted = parse(all, &options(Some(NODE))).config.peers;
    let mut engine = Engine::new(Settings {
        node: NODE.to_owned(),
        options: options(Some(NODE)),
        ..Settings::default()
    });
    let effects = engine.handle_all([Event::Listed, Event::Resources(Box::new(all.clone()))]);
    let made: Vec<_> = effects
        .iter()
        .rev()
        .find_map(|effect| match effect {
            Effect::Peers(all) => Some(all.peers.iter().map(|session| &session.name).collect()),
            _ => None,
        })
        .unwrap_or_default();
    let wanted: Vec<_> = wanted.values().map(|peer| &peer.name).collect();
    assert!(wanted.iter().all(|name| made.contains(name)), "{wanted:?} {made:?}");
    let complaints = effects.iter().filter_map(|effect| match effect {
        Effect::Configuration(report) => Some(report.errors.clone()),
        _ => None,
    });
    (wanted.len(), complaints.flatten().collect())
}

#[test]
fn the_controller_takes_every_pool_into_use() {
    let mut pools = 0;
    for (rule, all) in accepted() {
        let verdict = Pools::new(Backend::Native, false).load(&all);
        let unusable = verdict.accepted.map(|accepted| accepted.unusable);
        assert_eq!(
            (verdict.refused, unusable),
            (Vec::new(), Some(BTreeSet::new())),
            "{rule}"
        );
        pools += pools_in_use(&all);
    }
    assert!(pools > 20, "only {pools} pools were seen");
}

#[test]
fn the_speaker_makes_a_session_of_every_peer_that_has_an_address() {
    let mut made = 0;
    for (rule, all) in accepted() {
        let (count, mut complaints) = sessions(&all);
        // What the speaker cannot do is no fault of the peer.
        complaints.retain(|complaint| !complaint.contains("is not supported yet"));
        assert_eq!(complaints, Vec::<String>::new(), "{rule}");
        made += count;
    }
    assert!(made > 15, "only {made} sessions were made");
}

#[test]
fn what_is_accepted_of_any_mixture_is_used_to_the_last_object() {
    let (pools, made) = (Cell::new(0), Cell::new(0));
    let mut runner = proptest::test_runner::TestRunner::default();
    let used = runner.run(&mixed(), |all| {
        pools.update(|sum| sum + pools_in_use(&all));
        made.update(|sum| sum + sessions(&all).0);
        Ok(())
    });
    used.unwrap();
    let seen = (pools.get(), made.get());
    assert!(seen.0 > 200 && seen.1 > 100, "{seen:?} pools and sessions are no proof");
}
