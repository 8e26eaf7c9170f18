//! Faults: a reverse proxy between the components and their API server, with a script.
//!
//! ```text
//!   pods ── KUBERNETES_SERVICE_HOST ──► proxy 172.30.0.1:6444 ──► API server 172.30.0.1:6443
//!                                        │ script: rules, door      ▲
//!                                        │ record of requests       │
//!                                   the test                  the lab itself, kubectl
//! ```
//! It ends TLS with a certificate of its own, which pods trust beside the API server's; whoever holds the lab's own
//! credentials is not behind it, and so sees the truth while the components do not. Webhooks are called by the API
//! server directly.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use metallb_test_support::faults::{Fault, Faults, Rule, Verb};
//! # async fn play(faults: &Faults) {
//! let busy = Rule::new(Fault::Busy { retry_after: 2 }).of("controller").resource("services/status");
//! let busy = faults.inject(busy.times(3));
//! // …
//! assert_eq!(busy.hits(), 3);
//! drop(busy); // and the rule is gone
//! faults.away(); // connections are reset, new ones refused
//! tokio::time::sleep(Duration::from_secs(60)).await;
//! faults.back();
//! # }
//! ```

mod body;
mod connection;
mod forward;
mod pki;
mod request;
mod rule;
mod script;
mod serve;
mod tally;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use metallb_lab::LAB;
use metallb_lab::platform::Door as LabDoor;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use request::{Caller, Request, Verb};
pub use rule::{Fault, Rule};
use script::Script;
use serve::Door;
pub use tally::Tally;

/// Where the proxy of a lab listens.
pub(crate) const FAULTS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(LAB), 6444);

/// A running proxy; clones share it.
#[derive(Clone, Debug)]
pub struct Faults {
    script: Arc<Script>,
    door: Arc<watch::Sender<Door>>,
    certificates: pki::Certificates,
    address: SocketAddr,
}

/// A rule in force, until this is dropped.
#[derive(Debug)]
pub struct Injected {
    id: u64,
    script: Arc<Script>,
}

impl Injected {
    /// How many requests and running watches met it.
    #[must_use]
    pub fn hits(&self) -> u32 {
        self.script.hits(self.id)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        self.script.remove(self.id);
    }
}

impl Faults {
    /// Listens on `address`, until `stop`, in front of the API server `to`, whose certificate `ca` signed.
    ///
    /// # Errors
    /// When the address is taken.
    pub(crate) async fn start(address: SocketAddr, to: SocketAddr, ca: &str, stop: CancellationToken) -> Result<Self> {
        let certificates = pki::create(&[address.ip().to_string(), "kubernetes.default.svc".into()])?;
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let script = Arc::new(Script::new());
        let (door, doors) = watch::channel(Door::Open(certificates.good.clone()));
        let forwarder = Arc::new(forward::forwarder(script.clone(), to, ca)?);
        tokio::spawn(serve::run(address, Some(listener), doors, forwarder, stop));
        Ok(Self {
            script,
            door: Arc::new(door),
            certificates,
            address,
        })
    }

    /// Puts a rule in force, for new requests and running watches.
    #[must_use = "the rule is gone with what is returned"]
    pub fn inject(&self, rule: Rule) -> Injected {
        Injected {
            id: self.script.add(rule),
            script: self.script.clone(),
        }
    }

    /// The API server goes away: connections are reset, new ones refused.
    pub fn away(&self) {
        self.door.send_replace(Door::Closed);
    }

    /// The API server falls deaf: connections are reset, new ones are accepted, but nobody ever speaks.
    pub fn deaf(&self) {
        self.door.send_replace(Door::Deaf);
    }

    /// The API server's certificate is over; connections are reset.
    pub fn expire_certificate(&self) {
        self.door.send_replace(Door::Open(self.certificates.expired.clone()));
    }

    /// The API server is there, with a good certificate.
    pub fn back(&self) {
        self.door.send_replace(Door::Open(self.certificates.good.clone()));
    }

    /// All requests since the start, or since they were last forgotten.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.script.requests()
    }

    /// Forgets the requests.
    pub fn forget(&self) {
        self.script.forget();
    }

    /// The requests, counted.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally::of(&self.requests())
    }
}

impl LabDoor for Faults {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn ca(&self) -> &str {
        &self.certificates.ca
    }

    fn learn(&self, token: &str, pod: &Pod, node: &str) {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let caller = Caller {
            component: containers
                .map(|container| container.name.clone())
                .next()
                .unwrap_or_default(),
            node: node.to_owned(),
            pod: pod.name_any(),
        };
        self.script.learn(token, caller);
    }
}

#[cfg(test)]
mod tests;
