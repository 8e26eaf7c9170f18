//! How often and how long of the membership: `/etc/metallb/memberlist/config.json`.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use metallb_api::GoDuration;
use metallb_dataplane::members::Timing;
use serde::Deserialize;

/// Where the ConfigMap is mounted.
pub(crate) const FILE: &str = "/etc/metallb/memberlist/config.json";
/// Longest time and largest count that make sense; more would overflow when they are multiplied.
const MAX_TIME: Duration = Duration::from_secs(3600);
const MAX_COUNT: u32 = 1000;

/// The file by upstream's keys, all of which must be there. Upstream: a missing number or truth is 0 or false, silently.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    #[serde(rename = "TCPTimeout")]
    tcp_timeout: GoDuration,
    indirect_checks: u32,
    retransmit_mult: u32,
    suspicion_mult: u32,
    suspicion_max_timeout_mult: u32,
    push_pull_interval: GoDuration,
    probe_timeout: GoDuration,
    probe_interval: GoDuration,
    disable_tcp_pings: bool,
    awareness_max_multiplier: u32,
    gossip_nodes: u32,
    gossip_interval: GoDuration,
    gossip_to_the_dead_time: GoDuration,
    gossip_verify_incoming: bool,
    gossip_verify_outgoing: bool,
    #[serde(rename = "UDPBufferSize")]
    udp_buffer_size: u32,
    // Of the inner workings of upstream's library; nobody else notices them.
    #[serde(rename = "EnableCompression")]
    _enable_compression: bool,
    #[serde(rename = "HandoffQueueDepth")]
    _handoff_queue_depth: u32,
    #[serde(rename = "QueueCheckInterval")]
    _queue_check_interval: GoDuration,
}

/// Reads `file`; nothing if there is none.
///
/// # Errors
/// When it is illegible, incomplete, or has values that cannot work.
pub(crate) fn read(file: &Path) -> Result<Option<Timing>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    parse(&text)
        .map(Some)
        .with_context(|| format!("cannot use {}", file.display()))
}

fn parse(text: &str) -> Result<Timing> {
    let content: Content = serde_json::from_str(text)?;
    ensure!(
        content.gossip_verify_incoming && content.gossip_verify_outgoing,
        "GossipVerifyIncoming and GossipVerifyOutgoing must be true: where there is a key, everything is encrypted"
    );
    ensure!(
        (512..=65_000).contains(&content.udp_buffer_size),
        "UDPBufferSize must be from 512 to 65000"
    );
    Ok(Timing {
        probe_interval: time("ProbeInterval", &content.probe_interval)?,
        probe_timeout: time("ProbeTimeout", &content.probe_timeout)?,
        indirect_checks: count("IndirectChecks", content.indirect_checks, 0)?,
        suspicion_mult: count("SuspicionMult", content.suspicion_mult, 1)?,
        suspicion_max_timeout_mult: count("SuspicionMaxTimeoutMult", content.suspicion_max_timeout_mult, 1)?,
        awareness_max_multiplier: count("AwarenessMaxMultiplier", content.awareness_max_multiplier, 1)?,
        gossip_interval: time("GossipInterval", &content.gossip_interval)?,
        gossip_nodes: count("GossipNodes", content.gossip_nodes, 1)?,
        gossip_to_the_dead_time: time("GossipToTheDeadTime", &content.gossip_to_the_dead_time)?,
        retransmit_mult: count("RetransmitMult", content.retransmit_mult, 1)?,
        push_pull_interval: time("PushPullInterval", &content.push_pull_interval)?,
        tcp_timeout: time("TCPTimeout", &content.tcp_timeout)?,
        tcp_pings: !content.disable_tcp_pings,
        udp_buffer_size: content.udp_buffer_size as usize,
    })
}

/// Upstream: 0 switches probes, gossip or push/pulls off, without which there is no membership.
fn time(key: &str, text: &GoDuration) -> Result<Duration> {
    let time = text.parse().with_context(|| key.to_owned())?;
    ensure!(
        time >= Duration::from_millis(1) && time <= MAX_TIME,
        "{key} {:?} is not from 1ms to 1h",
        text.as_str()
    );
    Ok(time)
}

fn count<N: TryFrom<u32>>(key: &str, value: u32, least: u32) -> Result<N> {
    ensure!(
        (least..=MAX_COUNT).contains(&value),
        "{key} {value} is not from {least} to {MAX_COUNT}"
    );
    N::try_from(value).ok().with_context(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Upstream's profile for far nodes.
    fn far() -> Value {
        json!({
            "TCPTimeout": "30s", "IndirectChecks": 3, "RetransmitMult": 4, "SuspicionMult": 6,
            "SuspicionMaxTimeoutMult": 6, "PushPullInterval": "1m", "ProbeTimeout": "3s", "ProbeInterval": "5s",
            "DisableTcpPings": false, "AwarenessMaxMultiplier": 8, "GossipNodes": 4, "GossipInterval": "500ms",
            "GossipToTheDeadTime": "1m0s", "GossipVerifyIncoming": true, "GossipVerifyOutgoing": true,
            "EnableCompression": true, "HandoffQueueDepth": 1024, "UDPBufferSize": 1400, "QueueCheckInterval": "30s"
        })
    }

    // L2-70
    #[test]
    fn a_whole_file_is_taken() {
        assert_eq!(parse(&far().to_string()).unwrap(), Timing::wan());
    }

    // L2-70
    #[test]
    fn every_key_must_be_there() {
        for key in far().as_object().unwrap().keys() {
            let mut file = far();
            file.as_object_mut().unwrap().remove(key);
            let error = parse(&file.to_string()).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn values_that_cannot_work_are_named() {
        let wrong = [
            ("ProbeInterval", json!("0s")),
            ("ProbeTimeout", json!("soon")),
            ("TCPTimeout", json!("2h")),
            ("GossipNodes", json!(0)),
            ("SuspicionMult", json!(4_000_000)),
            ("UDPBufferSize", json!(100)),
            ("GossipVerifyIncoming", json!(false)),
        ];
        for (key, value) in wrong {
            let mut file = far();
            file[key] = value;
            let error = format!("{:#}", parse(&file.to_string()).unwrap_err());
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn without_a_file_the_flags_count() {
        assert_eq!(read(Path::new("/nonexistent")).unwrap(), None);
    }
}
