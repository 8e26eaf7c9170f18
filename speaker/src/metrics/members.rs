//! What the membership says of itself.

use metallb_dataplane::members::MembersHandle;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::families::{desc, family, label, metric};

/// Counters of the membership, read when somebody asks.
pub(super) struct Members {
    handle: MembersHandle,
    alive: Desc,
    refused: Desc,
}

impl Members {
    pub(super) fn new(handle: MembersHandle) -> prometheus::Result<Self> {
        Ok(Self {
            handle,
            alive: desc(
                "metallb_speaker_members",
                "Speakers that are alive as this one sees it, itself included.",
                &[],
            )?,
            refused: desc(
                "metallb_speaker_members_refused_total",
                "Messages of the membership that were not accepted; decryption means that the keys differ.",
                &["reason"],
            )?,
        })
    }
}

impl Collector for Members {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.alive, &self.refused]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let alive = self.handle.alive().borrow().len() as u64;
        let mut families = vec![family(
            &self.alive,
            MetricType::GAUGE,
            vec![metric(Vec::new(), MetricType::GAUGE, alive)],
        )];
        let refusals = self.handle.refusals().into_iter();
        let refused = refusals.map(|(reason, count)| {
            let labels = vec![label("reason", reason.name())];
            metric(labels, MetricType::COUNTER, count)
        });
        let refused: Vec<_> = refused.collect();
        if !refused.is_empty() {
            families.push(family(&self.refused, MetricType::COUNTER, refused));
        }
        families
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    use metallb_dataplane::members::{Config, Metadata, Timing, start};
    use metallb_runtime::CancellationToken;

    use super::super::*;

    #[tokio::test]
    async fn a_message_without_the_key_is_counted() {
        let config = Config {
            node: "node-a".to_owned(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            key: Some(b"secret".to_vec()),
            timing: Timing::lan(),
            fast: false,
            metadata: Metadata::default(),
        };
        let (members, work) = start(config, CancellationToken::new()).unwrap();
        let metrics = Metrics::new("node-a").unwrap();
        metrics.add_members(members.clone()).unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(&[1; 100], members.local_address()).unwrap();
        let counted = async {
            while members.refusals().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = work => panic!("it runs until it is stopped"),
            () = counted => {}
        }
        let text = tests::text(&metrics.registry);
        assert!(text.contains("metallb_speaker_members 1"), "{text}");
        assert!(
            text.contains("metallb_speaker_members_refused_total{reason=\"decryption\"} 1"),
            "{text}"
        );
    }
}
