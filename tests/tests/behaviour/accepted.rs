//! What the parser accepts every component can build from: the controller its pools, the speaker its sessions.

use metallb_config::{Backend, Config, Endpoint, Options, Resources, View, parse, rules};
use metallb_controller::pools::Pools;
use metallb_speaker::engine::{Effect, Engine, Event, Settings};

use crate::rule_examples::{named, object};
use crate::validation::resources;

const NODE: &str = "rack-1";

fn options(node: Option<&str>) -> Options {
    Options {
        view: View::Load {
            node: node.map(ToOwned::to_owned),
        },
        ..Options::default()
    }
}

/// The good twin of each example among the objects beside it, where all of them are accepted.
fn accepted() -> Vec<(String, Resources, Config)> {
    let entries = rules::all().into_iter().filter(|entry| entry.kinds[0] != "MetalLB");
    let of_native = entries.filter(|entry| entry.backends.contains(&Backend::Native));
    let parsed = of_native.filter_map(|entry| {
        let (all, _) = resources(entry.beside.iter().map(object).chain([named(entry, entry.good)]));
        let parsed = parse(&all, &options(None));
        parsed
            .refused
            .is_empty()
            .then(|| (entry.rule.to_string(), all, parsed.config))
    });
    parsed.collect()
}

#[test]
fn the_controller_takes_every_pool_into_use() {
    let mut pools = 0;
    for (rule, all, config) in accepted() {
        let verdict = Pools::new(Backend::Native).load(&all);
        assert_eq!(
            (verdict.refused, verdict.accepted.is_some()),
            (Vec::new(), true),
            "{rule}"
        );
        let accepted = verdict.accepted.unwrap_or_default();
        assert_eq!(accepted.pools, config.pools, "{rule}");
        assert!(accepted.unusable.is_empty(), "{rule}");
        pools += config.pools.len();
    }
    assert!(pools > 20, "only {pools} pools were seen");
}

#[test]
fn the_speaker_makes_a_session_of_every_peer_that_has_an_address() {
    let mut made = 0;
    for (rule, all, _) in accepted() {
        let wanted = parse(&all, &options(Some(NODE))).config.peers;
        let wanted = wanted
            .values()
            .filter(|peer| matches!(peer.endpoint, Endpoint::Address(_)));
        let wanted: Vec<String> = wanted.map(|peer| peer.name.clone()).collect();
        let mut engine = Engine::new(Settings {
            node: NODE.to_owned(),
            options: options(Some(NODE)),
            ..Settings::default()
        });
        let effects = engine.handle_all([Event::Listed, Event::Resources(Box::new(all))]);
        let sessions = effects.iter().rev().find_map(|effect| match effect {
            Effect::Peers(sessions) => Some(sessions.iter().map(|session| session.name.clone()).collect()),
            _ => None,
        });
        let sessions: Vec<String> = sessions.unwrap_or_default();
        assert!(
            wanted.iter().all(|name| sessions.contains(name)),
            "{rule}: {wanted:?} {sessions:?}"
        );
        let complaints = effects.iter().filter_map(|effect| match effect {
            Effect::Configuration(report) => Some(report.errors.clone()),
            _ => None,
        });
        assert_eq!(complaints.flatten().collect::<Vec<_>>(), Vec::<String>::new(), "{rule}");
        made += sessions.len();
    }
    assert!(made > 15, "only {made} sessions were made");
}
