//! Starts and stops the shells that talk to the network.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use metallb_config::Backend;
use metallb_dataplane::l2::{self, L2Handle};
use metallb_dataplane::members::{self, MembersHandle};
use metallb_engine::TenureConfig;
use metallb_runtime::CancellationToken;
use metallb_runtime::tasks::Tasks;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::args::{Args, Membership};
use crate::backend::Bgp;
use crate::departure::Departure;
use crate::{key, membership};

/// Time to tell the members and the BGP peers that this speaker leaves.
const GOODBYE: Duration = Duration::from_millis(400);
/// Longest time after the stop signal for which addresses are still answered, until their next owner is heard.
const HAND_OVER: Duration = Duration::from_millis(1500);

/// The shells; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct DataPlane {
    pub(crate) l2: L2Handle,
    l2_stop: CancellationToken,
    pub(crate) bgp: Bgp,
    pub(crate) departure: Departure,
    pub(crate) members: Option<MembersHandle>,
    members_stop: CancellationToken,
}

impl DataPlane {
    /// Starts them as `tasks`; the membership with its key, if it has one.
    pub(crate) fn start(
        args: &Args,
        backend: Backend,
        excluded: regex::RegexSet,
        membership: Option<(&Membership, Option<Vec<u8>>)>,
        tenure: TenureConfig,
        tasks: &mut Tasks,
    ) -> Result<Self> {
        let (l2_stop, members_stop) = (CancellationToken::new(), CancellationToken::new());
        let (bgp, work) = Bgp::start(backend, args)?;
        tasks.spawn("BGP", work);
        let config = l2::Config {
            exclude: Arc::new(move |name| excluded.is_match(name)),
            garp_interval: args.garp_interval()?,
            check_before_announcing: args.l2_check_addresses,
        };
        let (l2, work) = l2::start(config, l2_stop.clone())?;
        tasks.spawn("layer 2", async { Ok(work.await?) });
        let members = match membership {
            Some((membership, key)) => {
                let config = members::Config {
                    node: args.node_name.clone(),
                    bind: membership.bind,
                    key,
                    timing: membership.timing.clone(),
                    fast: membership.fast,
                    metadata: membership::first_metadata(tenure),
                };
                let followed = membership.key_file.clone().zip(config.key.clone());
                let (members, work) = members::start(config, members_stop.clone())?;
                tasks.spawn("membership", async { Ok(work.await?) });
                if let Some((file, key)) = followed {
                    let (members, ending) = (members.clone(), members_stop.clone());
                    tasks.spawn("membership key", async move {
                        let follow = key::follow(&file, key, |keys| members.set_keys(keys));
                        ending.run_until_cancelled(follow).await;
                        Ok(())
                    });
                }
                Some(members)
            }
            None => {
                info!(
                    event = "memberlistDisabled",
                    "membership is off: speaker pods must run on all nodes"
                );
                None
            }
        };
        Ok(Self {
            l2,
            l2_stop,
            bgp,
            departure: Departure::new(&args.node_name),
            members,
            members_stop,
        })
    }

    /// Waits for `stop`, then leaves in the order that loses least traffic: the others take over as soon as they know that
    /// this speaker leaves, and it answers for each address until another is heard to do so.
    pub(crate) async fn goodbye(self, stop: CancellationToken) -> Result<()> {
        stop.cancelled().await;
        let end = Instant::now() + HAND_OVER;
        let routes = timeout(GOODBYE, self.bgp.shutdown(self.departure.farewell()));
        let addresses = async {
            let successors = self
                .members
                .as_ref()
                .is_some_and(|members| members.alive().borrow().len() > 1);
            // Must listen before the others learn of the departure, or the first to take over would be missed.
            let handing_over = match successors {
                true => timeout(GOODBYE, self.l2.hand_over()).await.ok(),
                false => None,
            };
            self.members_stop.cancel();
            if let Some(members) = &self.members {
                let _ = timeout(GOODBYE, members.ended()).await;
            }
            if let Some(handing_over) = handing_over {
                handing_over.done(end.saturating_duration_since(Instant::now())).await;
            }
            self.l2_stop.cancel();
        };
        if tokio::join!(routes, addresses).0.is_err() {
            warn!(
                event = "shutdownIncomplete",
                "not every BGP peer was told in time that this speaker stops"
            );
        }
        info!(event = "withdrawn", "nothing is announced any more");
        Ok(())
    }
}
