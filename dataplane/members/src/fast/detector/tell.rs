//! Sends packets to the other members.

use std::time::{Duration, Instant};

use super::{Detector, judge::ROUND};
use crate::fast::{
    Action,
    packet::{Kind, Packet, Stamp},
};

/// Number of packets to each member when the accusations change, and the interval of repetitions afterwards.
const NEWS_AT_ONCE: u8 = 3;
const NEWS_AGAIN: Duration = Duration::from_secs(1);

/// When the accusations are sent to everybody next, and how many fast repetitions are left.
#[derive(Debug)]
pub(super) struct News {
    pub(super) at: Instant,
    left: u8,
}

impl Detector {
    pub(super) fn news_now(&mut self) {
        self.news = Some(News {
            at: self.now,
            left: NEWS_AT_ONCE,
        });
    }

    /// Sends the accusations to everybody, if it is time.
    pub(super) fn spread_news(&mut self) {
        let Some(news) = self.news.as_mut().filter(|news| news.at <= self.now) else {
            return;
        };
        news.left = news.left.saturating_sub(1);
        if news.left > 0 {
            news.at = self.now + ROUND;
        } else if self.accusations.is_accuser() {
            news.at = self.now + NEWS_AGAIN;
        } else {
            self.news = None;
        }
        for name in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.send(&name, Kind::News);
        }
    }

    /// Pings a member; returns the sequence of the ping.
    pub(super) fn ping(&mut self, name: &str) -> Option<u64> {
        let sequence = self.send(name, Kind::Ping)?;
        let peer = self.peers.get_mut(name)?;
        peer.pinged(sequence, self.now);
        peer.ping_at = self.now + self.pause;
        Some(sequence)
    }

    pub(super) fn send(&mut self, name: &str, kind: Kind) -> Option<u64> {
        let to = self.peers.get(name)?.address;
        self.sequence += 1;
        let packet = Packet {
            stamp: Stamp {
                boot: self.config.boot,
                sequence: self.sequence,
            },
            sender: self.config.node.clone(),
            kind,
            accused: if self.suspects.names.contains(name) && self.watched.contains(name) {
                self.accusations.told_to(name)
            } else {
                self.accusations.told()
            },
        };
        let bytes = self.ciphers.encode(&packet);
        self.actions.push(Action::Send { to, bytes });
        Some(self.sequence)
    }
}
