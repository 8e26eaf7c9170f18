//! From the engine's vocabulary to that of frr-k8s.

use metallb_api::SecretReference;
use metallb_config::Peer;
use metallb_frr_k8s::{Desired, Session};

use super::{Secrets, Settings};
use crate::frr::desired::{password, profiles, sessions};
use crate::frr::model::Model;

/// The configuration for frr-k8s, and one sentence for everything that cannot be part of it.
pub(super) fn desired(model: &Model, settings: &Settings) -> (Desired, Vec<String>) {
    let mut problems = Vec::new();
    let bfd_profiles = profiles(model, &mut problems);
    let key = |peer: &Peer| match reference(peer, settings.secrets) {
        Some(_) => Ok(None),
        None => password(peer),
    };
    let sessions = sessions(model, settings.router_id, key, &mut problems);
    let sessions = sessions.into_iter().map(|(peer, session)| Session {
        peer: peer.name.clone(),
        session,
        secret: reference(peer, settings.secrets),
    });
    let desired = Desired {
        sessions: sessions.collect(),
        bfd_profiles,
    };
    if !model.extras().is_empty() {
        problems.push(
            "ConfigMap bgpextras: with frr-k8s its lines are not used; they can be in spec.raw of a FRRConfiguration"
                .to_owned(),
        );
    }
    (desired, problems)
}

/// The Secret that frr-k8s is to read.
fn reference(peer: &Peer, secrets: Secrets) -> Option<SecretReference> {
    let secret = peer.password_secret.as_ref()?;
    (secrets == Secrets::Named).then(|| SecretReference {
        name: Some(secret.name.clone()),
        namespace: Some(secret.namespace.clone()).filter(|namespace| !namespace.is_empty()),
    })
}
