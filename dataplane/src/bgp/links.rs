//! The interfaces of the node, for sessions that depend on one.

use std::{sync::Arc, time::Duration};

use metallb_net::{LinkFacts, LinkMonitor};
use tokio::{sync::watch, task::AbortHandle};

/// The pause after a failure of netlink.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of the interfaces; `None` before they were listed.
pub(super) type Known = Option<Arc<Vec<LinkFacts>>>;

/// Follows the interfaces from the first call of [`Links::follow`] on.
#[derive(Default)]
pub(super) struct Links(Option<(watch::Receiver<Known>, AbortHandle)>);

impl Links {
    /// Returns what is known, now and later. Needs a tokio runtime.
    pub(super) fn follow(&mut self) -> watch::Receiver<Known> {
        let (known, _) = self.0.get_or_insert_with(|| {
            let (writer, reader) = watch::channel(None);
            (reader, tokio::spawn(run(writer)).abort_handle())
        });
        known.clone()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.0 {
            task.abort();
        }
    }
}

async fn run(known: watch::Sender<Known>) {
    loop {
        if let Err(error) = report(&known).await {
            tracing::warn!(event = "linksUnknown", %error, "cannot follow the interfaces for unnumbered BGP peers");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn report(known: &watch::Sender<Known>) -> std::io::Result<()> {
    let mut monitor = LinkMonitor::open()?;
    loop {
        let listed = monitor.list().await.map_err(std::io::Error::other)?;
        known.send_if_modified(|known| {
            let news = known.as_deref() != Some(&listed);
            if news {
                *known = Some(Arc::new(listed));
            }
            news
        });
        if !monitor.changed().await {
            return Err(std::io::Error::other("the netlink socket has failed"));
        }
    }
}
