//! What a new configuration does to the state, and what is told about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use metallb_announce::ServiceView;
use metallb_config::{Config, Resources, Rule, Settled, Warning};
use tracing::{error, info, warn};

use crate::announced::Announced;
use crate::change::Difference;
use crate::engine::Dirty;
use crate::{ConfigReport, Effect, Engine, Peers, ServiceKey, peers};

impl Engine {
    pub(crate) fn take_resources(&mut self, resources: &Resources, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        let before = self.config.take();
        let settled = Settled::new(resources, before.as_ref(), &self.settings.options);
        tell_refusals(before.as_ref(), &settled);
        let news = tell_warnings(before.as_ref(), &settled);
        effects.extend(news.into_iter().filter_map(|warning| doubtful(warning, resources)));
        effects.extend(useless_secrets(before.as_ref(), &settled, resources));
        let (old, new) = (before.as_ref().map(|before| &before.config), &settled.config);
        match old {
            Some(old) if old != new => self.compare(old, new, dirty),
            Some(_) => {}
            None => dirty.all = true,
        }
        let profiles = old.is_none_or(|old| old.bfd_profiles != new.bfd_profiles);
        self.config = Some(settled);
        self.refresh_sessions(profiles, dirty, effects);
        self.announcements.sweep();
        self.report(effects);
    }

    /// Finds the Services that a new configuration concerns, and the pools that they must not lose.
    fn compare(&mut self, before: &Config, after: &Config, dirty: &mut Dirty) {
        let difference = Difference::new(before, after, &self.settings.node);
        for node in &difference.nodes {
            dirty.nodes.came.insert((*node).into());
            dirty.nodes.gone.insert((*node).into());
        }
        let mut orphans = Vec::new();
        for (key, entry) in &self.services {
            let Some(facts) = &entry.facts else { continue };
            let mut addresses = facts.view.ingress.iter().flatten();
            if addresses.any(|ip| difference.concerns(before, after, *ip)) {
                dirty.services.insert(Arc::clone(key));
                orphans.extend(
                    lost_pool(&facts.view, before, after).map(|pool| (Arc::clone(key), Arc::new(pool.clone()))),
                );
            }
        }
        for (key, pool) in orphans {
            warn!(event = "poolInUse", service = %key, pool = pool.name, "pool is gone but its address is still in use");
            self.kept.insert(key, pool);
        }
    }

    fn refresh_sessions(&mut self, profiles_changed: bool, dirty: &mut Dirty, effects: &mut Vec<Effect>) {
        let Some(settled) = &self.config else { return };
        let own = &self.settings.node;
        let configured = settled.config.peers.values();
        let sessions = configured
            .map(|peer| (peer.name.clone(), peers::here(peer, own)))
            .collect();
        let before = std::mem::replace(&mut self.sessions, sessions);
        if before != self.sessions {
            dirty.services.extend(self.announcing(Announced::has_routes));
        } else if !profiles_changed {
            return;
        }
        for name in self.sessions.keys().filter(|name| !before.contains_key(*name)) {
            info!(
                event = "peerAdded",
                peer = name,
                "peer configured, starting BGP session"
            );
        }
        for name in before.keys().filter(|name| !self.sessions.contains_key(*name)) {
            info!(
                event = "peerRemoved",
                peer = name,
                reason = "removedFromConfig",
                "peer deconfigured, closing BGP session"
            );
        }
        effects.push(Effect::Peers(Peers {
            peers: self.sessions.values().cloned().collect(),
            bfd_profiles: settled.config.bfd_profiles.values().cloned().collect(),
        }));
    }

    /// Says what is wrong with the configuration, if that is news.
    pub(crate) fn report(&mut self, effects: &mut Vec<Effect>) {
        let Some(settled) = &self.config else { return };
        let in_use = self.kept.iter().map(|(key, pool)| {
            format!(
                "service {key} still has an address of pool {}, which does not hold it any more",
                pool.name
            )
        });
        let backend = self.settings.options.backend;
        let configured = settled.config.peers.values();
        let profiles = &settled.config.bfd_profiles;
        let unmet = configured.filter_map(|peer| peers::unmet(peer, profiles, backend));
        let unmet: Vec<String> = unmet.collect();
        let known = |reason| {
            self.report
                .as_ref()
                .is_some_and(|report| report.errors.contains(reason))
        };
        for reason in unmet.iter().filter(|reason| !known(reason)) {
            warn!(event = "peerLimited", reason);
        }
        let refused = settled.refused.iter().map(metallb_config::Refused::summary);
        let objects: BTreeSet<_> = settled.refused.iter().map(|refused| &refused.object).collect();
        let report = ConfigReport {
            refused: objects.len(),
            errors: refused.chain(unmet).chain(in_use).collect(),
            doubts: settled.doubts().collect(),
        };
        if self.report.as_ref() != Some(&report) {
            effects.push(Effect::Configuration(report.clone()));
            self.report = Some(report);
        }
    }
}

/// The pool that a Service would be left without, whoever announces it now: another node may have to.
///
/// Upstream: refuses the whole configuration until the controller has taken the address away.
fn lost_pool<'a>(view: &ServiceView, before: &'a Config, after: &Config) -> Option<&'a metallb_config::Pool> {
    let addresses = view.addresses().filter(|_| view.load_balancer)?;
    match after.pool_holding(&addresses) {
        Some(_) => None,
        None => before.pool_holding(&addresses),
    }
}

fn tell_refusals(before: Option<&Settled>, settled: &Settled) {
    if before.is_none_or(|before| before.refused != settled.refused) {
        for refused in &settled.refused {
            error!(event = "configRefused", object = %refused.object, field = refused.field, reason = refused.reason);
        }
    }
}

/// Logs the warnings that are new, and returns them.
fn tell_warnings<'a>(before: Option<&Settled>, settled: &'a Settled) -> Vec<&'a Warning> {
    let known = |warning| before.is_some_and(|before| before.warnings.contains(warning));
    let news: Vec<_> = settled.warnings.iter().filter(|warning| !known(warning)).collect();
    for warning in &news {
        warn!(event = "configDoubtful", object = %warning.object, field = warning.field, reason = warning.reason);
    }
    news
}

/// Admission, which tells every other warning, knows no Secrets.
fn doubtful(warning: &Warning, resources: &Resources) -> Option<Effect> {
    if warning.rule != Rule::W29 {
        return None;
    }
    on_peer(&warning.object.name, warning.reason.clone(), resources)
}

/// The peers that have no session because of their Secret, if that is news: without the key there must be no connection.
fn useless_secrets(before: Option<&Settled>, settled: &Settled, resources: &Resources) -> Vec<Effect> {
    let known = |refused| before.is_some_and(|before| before.refused.contains(refused));
    let of_secrets = settled
        .refused
        .iter()
        .filter(|refused| refused.field == "spec.passwordSecret");
    let news = of_secrets.filter(|refused| refused.object.kind == "BGPPeer" && !known(refused));
    let note = |reason| format!("there is no session from here: {reason}");
    news.filter_map(|refused| on_peer(&refused.object.name, note(&refused.reason), resources))
        .collect()
}

fn on_peer(name: &str, note: String, resources: &Resources) -> Option<Effect> {
    let peer = resources.peers.iter().find(|peer| peer.name_any() == *name)?;
    Some(Effect::Doubtful {
        peer: ServiceKey::new(&resources.namespace, name),
        uid: peer.uid(),
        note,
    })
}
