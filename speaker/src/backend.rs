//! The BGP back-ends, and the one place where they differ.

use std::collections::BTreeMap;
use std::future::Future;

use anyhow::Result;
use futures::future::Either;
use metallb_config::Backend;
use metallb_dataplane::bgp::{self, BgpHandle, GracefulRestart, Posture, Sessions};
use metallb_engine::{Families, Peers, RouteChange};
use metallb_runtime::CancellationToken;
use tokio::sync::watch;

use crate::args::Args;
use crate::bfd::Bfd;
use crate::frr::{Frr, Settings};
use crate::frr_k8s::FrrK8s;
use crate::native;

/// A change of what BGP should do, in the engine's vocabulary, which loses nothing that a user set.
#[derive(Debug)]
pub(crate) enum Change {
    /// Have exactly these peers.
    Peers(Peers),
    /// Change the routes of these prefixes.
    Routes(Vec<RouteChange>),
    /// All routes are known now: what was not named by now is not announced.
    Known,
    /// Announce the routes in this posture from now on.
    Show(Posture),
}

/// The running back-end; clones share it.
#[derive(Clone, Debug)]
pub(crate) enum Bgp {
    /// Our own sessions.
    Native {
        /// Controls them.
        handle: BgpHandle,
        /// Detects failed paths before the sessions do.
        bfd: Bfd,
        /// Name of this node.
        node: String,
        /// Graceful restart, as offered to routers.
        restart: GracefulRestart,
    },
    /// FRR in containers beside ours.
    Frr(Frr),
    /// frr-k8s in pods of its own.
    FrrK8s(FrrK8s),
}

impl Bgp {
    /// Starts a back-end; the future is its work and ends with [`Bgp::shutdown`].
    ///
    /// # Errors
    /// For settings that make no sense, or if the thread of BFD cannot be started.
    pub(crate) fn start(
        backend: Backend,
        args: &Args,
    ) -> Result<(Self, impl Future<Output = Result<()>> + Send + 'static + use<>)> {
        match backend {
            Backend::Native => {
                let (handle, work) = bgp::start(CancellationToken::new());
                let (bfd, bfd_work) = Bfd::start(handle.clone())?;
                let node = args.node_name.clone();
                let work = async { tokio::try_join!(async { Ok(work.await?) }, bfd_work).map(|_| ()) };
                let native = Self::Native {
                    handle,
                    bfd,
                    node,
                    restart: args.bgp.restart()?,
                };
                Ok((native, Either::Left(Either::Left(work))))
            }
            Backend::Frr => {
                let settings = Settings::read(&args.node_name, &args.log_level, args.debounce())?;
                let (frr, work) = Frr::start(settings);
                Ok((Self::Frr(frr), Either::Left(Either::Right(work))))
            }
            // All of its work is with the API server, and no matter of the data plane.
            Backend::FrrK8s => {
                let stop = CancellationToken::new();
                let frr_k8s = FrrK8s::new(stop.clone());
                let work = async move {
                    stop.cancelled_owned().await;
                    Ok(())
                };
                Ok((Self::FrrK8s(frr_k8s), Either::Right(work)))
            }
        }
    }

    /// Takes in a change; never waits.
    pub(crate) fn apply(&self, change: Change) {
        let (handle, bfd, node, restart) = match self {
            Self::Native {
                handle,
                bfd,
                node,
                restart,
            } => (handle, bfd, node, restart),
            Self::Frr(frr) => return frr.model().apply(change),
            Self::FrrK8s(frr_k8s) => return frr_k8s.model().apply(change),
        };
        match change {
            Change::Peers(all) => {
                let sessions = all.peers.iter().map(|peer| peer.session(node, *restart));
                handle.set_peers(sessions.collect());
                bfd.apply(all);
            }
            Change::Routes(changes) => handle.change_routes(native::routes(&changes)),
            Change::Known => handle.routes_known(),
            Change::Show(posture) => handle.show(posture),
        }
    }

    /// How the sessions are doing.
    pub(crate) fn sessions(&self) -> watch::Receiver<Sessions> {
        match self {
            Self::Native { handle, .. } => handle.sessions(),
            Self::Frr(frr) => frr.sessions(),
            Self::FrrK8s(frr_k8s) => frr_k8s.sessions(),
        }
    }

    /// Looks at the session with a peer; `None` if there is none.
    pub(crate) async fn look(&self, peer: &str, part: bgp::Part) -> Option<bgp::View> {
        match self {
            Self::Native { handle, .. } => handle.look(peer, part).await,
            Self::Frr(_) | Self::FrrK8s(_) => None,
        }
    }

    /// BFD, in native mode.
    pub(crate) fn bfd(&self) -> Option<&Bfd> {
        match self {
            Self::Native { bfd, .. } => Some(bfd),
            Self::Frr(_) | Self::FrrK8s(_) => None,
        }
    }

    /// Ends the sessions as `farewell` says, and waits until each peer has been told or does not listen.
    pub(crate) async fn shutdown(&self, farewell: bgp::Farewell) {
        match self {
            Self::Native { handle, bfd, .. } => {
                handle.leave(farewell).await;
                // After the sessions, so that peers have begun a graceful restart before they see BFD end.
                bfd.shutdown();
            }
            Self::Frr(frr) => frr.shutdown(),
            Self::FrrK8s(frr_k8s) => frr_k8s.shutdown(),
        }
    }
}

/// The address families that established sessions should carry and do not, by peer.
pub(crate) fn uncarried(sessions: &Sessions) -> BTreeMap<String, Families> {
    let lacking = |state: &bgp::SessionState| Families {
        ipv4: state.lacking.contains(&bgp::Family::IPV4_UNICAST),
        ipv6: state.lacking.contains(&bgp::Family::IPV6_UNICAST),
    };
    let up = sessions.iter().filter(|(_, state)| state.up);
    up.map(|(name, state)| (name.clone(), lacking(state))).collect()
}
