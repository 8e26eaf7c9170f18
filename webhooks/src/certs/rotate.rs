//! Keeps the certificates in the Secret and the `caBundle`s in step.
//!
//! ```text
//!   Secret changed ─┐
//!   target changed ─┼─► round: read Secret ─► renew if due (guarded by resourceVersion) ─► inject ─► serve
//!   five minutes ───┘            ▲                         │ somebody else was faster
//!                                └─────────────────────────┘
//! ```
//!
//! Several replicas share one Secret: whoever writes first wins, the others take over what was written.
//!
//! Nobody is called with a certificate that he does not trust: whoever calls is told first, of the old CA and the new
//! one, and the new certificate is served a little later. Until then the old one serves on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DynamicObject, PostParams};
use kube::runtime::watcher;
use kube::{Api, Client};
use metallb_runtime::CancellationToken;
use metallb_runtime::cause::explain;
use metallb_runtime::tls::KeyPair;
use metallb_runtime::watch::{self as cluster, Event};
use rustls::pki_types::UnixTime;
use tokio::sync::watch;
use tracing::{info, warn};

use super::bundle::{Bundle, MakeError, Plan, plan, renew};
use super::inject::{self, Target, inject};
use crate::readiness::{Readiness, Trust};

/// How often the clock is asked. Timers stand still while a machine sleeps, the wall clock does not.
const PERIOD: Duration = Duration::from_secs(300);
/// Pause after a failed round; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long further changes are waited for after the first one.
const SETTLE: Duration = Duration::from_millis(100);
/// How long API servers may take to notice a new caBundle. Each watches the configurations by itself.
const NOTICED: Duration = Duration::from_secs(2);
/// Attempts to write the Secret within one round.
const ATTEMPTS: usize = 5;

/// Where the certificates are and who must trust them.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Namespace of Secret and Service.
    pub namespace: String,
    /// The Secret; it must exist.
    pub secret: String,
    /// The Service by which we are called.
    pub service: String,
    /// Who must trust the CA.
    pub targets: Vec<Target>,
}

impl Rotation {
    /// The name that the serving certificate must carry.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The Secret does not exist; it is never created, so that a read-only install stays one.
    #[error("Secret {0} does not exist")]
    NoSecret(String),
    /// The API server refused.
    #[error("cannot {0}")]
    Api(String, #[source] Box<kube::Error>),
    /// No certificate could be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// Every attempt lost against somebody else.
    #[error("somebody else keeps writing Secret {0}")]
    Busy(String),
}

impl RotateError {
    fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |error| Self::Api(what.into(), Box::new(error))
    }
}

/// Runs rounds until `stop`.
pub(crate) async fn follow(
    client: Client,
    rotation: Rotation,
    certificate: watch::Sender<Option<KeyPair>>,
    ready: Readiness,
    stop: CancellationToken,
) {
    let mut changes = changes(&client, &rotation);
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    let mut owner = None;
    loop {
        if owner.is_none() {
            owner = inject::namespace(&client, &rotation.namespace).await;
        }
        let wait = match round(&client, &rotation, &certificate, &mut last, owner.as_ref()).await {
            Ok(()) => {
                let ca = last.as_ref().map(|bundle: &Bundle| bundle.ca_certificate.clone());
                ready.certified(Ok(Trust::Authority {
                    ca: ca.unwrap_or_default(),
                    name: rotation.dns_name(),
                }));
                pause = FIRST_PAUSE;
                PERIOD
            }
            Err(error) => {
                let error = explain(&error);
                warn!(error, "webhook certificates are not ready");
                // Once all was well, a later failure does not make the server unready: it serves on.
                if ready.missing().is_some() {
                    ready.certified(Err(format!("webhook certificates: {error}")));
                }
                let longer = (pause * 2).min(LONGEST_PAUSE);
                std::mem::replace(&mut pause, longer)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Some(()) = changes.next() => {
                tokio::time::sleep(SETTLE).await;
                drain(&mut changes);
            }
            () = stop.cancelled() => return,
        }
    }
}

/// One round looks at everything, so that changes that wait already need no other.
fn drain(changes: &mut SelectAll<BoxStream<'static, ()>>) {
    while let Some(Some(())) = changes.next().now_or_never() {}
}

async fn round(
    client: &Client,
    rotation: &Rotation,
    certificate: &watch::Sender<Option<KeyPair>>,
    last: &mut Option<Bundle>,
    owner: Option<&OwnerReference>,
) -> Result<(), RotateError> {
    let bundle = secure(client, rotation, now(), last.as_ref()).await?;
    *last = Some(bundle.clone());
    for target in &rotation.targets {
        let what = || format!("inject the caBundle into {}", target.name());
        inject(client, target, &bundle.ca_certificate, owner)
            .await
            .map_err(RotateError::api(what()))?;
    }
    let served = certificate.borrow().clone();
    if served.as_ref() != Some(&bundle.serving) {
        if served.is_some() {
            tokio::time::sleep(NOTICED).await;
        }
        certificate.send_replace(Some(bundle.serving));
    }
    Ok(())
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns good certificates, from the Secret or made and stored there.
///
/// `last` are those before, whose CA stays trusted for a while even if somebody has emptied the Secret.
///
/// # Errors
/// When the Secret is missing or cannot be read or written.
pub async fn secure(
    client: &Client,
    rotation: &Rotation,
    now: UnixTime,
    last: Option<&Bundle>,
) -> Result<Bundle, RotateError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &rotation.namespace);
    let name = &rotation.secret;
    for _ in 0..ATTEMPTS {
        let found = api
            .get_opt(name)
            .await
            .map_err(RotateError::api(format!("read Secret {name}")))?;
        let Some(mut secret) = found else {
            return Err(RotateError::NoSecret(name.clone()));
        };
        let data = secret.data.get_or_insert_default();
        let old = Bundle::from_data(data);
        let due = plan(now, old.as_ref(), &rotation.dns_name());
        if let Some(bundle) = old.as_ref().filter(|_| due == Plan::Keep) {
            return Ok(bundle.clone());
        }
        let bundle = renew(now, due, old.as_ref().or(last), &rotation.dns_name())?;
        bundle.store(data);
        // The replace carries the resourceVersion read above.
        match api.replace(name, &PostParams::default(), &secret).await {
            Ok(_) => {
                info!(secret = %name, plan = ?due, "webhook certificates renewed");
                return Ok(bundle);
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(RotateError::api(format!("write Secret {name}"))(error)),
        }
    }
    Err(RotateError::Busy(name.clone()))
}

/// Anything that happens to the Secret or to a target.
fn changes(client: &Client, rotation: &Rotation) -> SelectAll<BoxStream<'static, ()>> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &rotation.namespace);
    let mut all = SelectAll::new();
    all.push(touched(secrets, &rotation.secret));
    for target in &rotation.targets {
        let api: Api<DynamicObject> = target.api(client);
        all.push(touched(api, target.name()));
    }
    all
}

fn touched<K>(api: Api<K>, name: &str) -> BoxStream<'static, ()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let config = cluster::Config::default().fields(&format!("metadata.name={name}"));
    let changed = |event: Result<Event<K>, watcher::Error>| match event {
        Ok(Event::Apply(_) | Event::Delete(_) | Event::InitApply(_)) => Some(()),
        // The watch goes on by itself, with backoff; the period makes up for what is missed.
        Ok(_) | Err(_) => None,
    };
    cluster::events(api, config)
        .filter_map(move |event| std::future::ready(changed(event)))
        .boxed()
}

#[cfg(test)]
mod tests;
