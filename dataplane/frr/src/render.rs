//! Writes the file, block by block.

use std::time::Duration;

use crate::{BfdProfile, Desired, Level, Text, filters, lines::line, routers};

/// The debug lines of level `debugging`.
const DEBUG: [&str; 14] = [
    "zebra events",
    "zebra nht",
    "zebra kernel",
    "zebra rib",
    "zebra nexthop",
    "bgp neighbor-events",
    "bgp updates in",
    "bgp updates out",
    "bgp keepalives",
    "bgp nht",
    "bgp zebra",
    "bfd network",
    "bfd peer",
    "bfd zebra",
];

/// FRR's BFD defaults, in milliseconds, packets and hops. FRR does not show values equal to them, so if they were written
/// each reload would set them again.
const INTERVAL: u128 = 300;
const ECHO_INTERVAL: u128 = 50;
const MULTIPLIER: u8 = 3;
const MINIMUM_TTL: u8 = 254;

impl Desired {
    /// Writes `frr.conf`, which FRR 8.4 to 10 can load. The text does not depend on the order of sessions and profiles.
    pub fn render(&self) -> Text {
        let mut text = Text::default();
        self.head(&mut text);
        let instances = routers::instances(&self.sessions);
        for known in instances.iter().flat_map(|instance| &instance.neighbours) {
            filters::write(&mut text, &known.id, &known.told);
        }
        for instance in &instances {
            routers::write(&mut text, instance);
        }
        self.bfd(&mut text);
        text.push_verbatim(self.extras.as_str());
        text
    }

    fn head(&self, text: &mut Text) {
        line!(text, "log stdout {}", self.level);
        line!(text, "log timestamp precision 3");
        if self.level == Level::Debugging {
            for what in DEBUG {
                line!(text, "debug {what}");
            }
        }
        if let Some(hostname) = &self.hostname {
            line!(text, "hostname {hostname}");
        }
        line!(text, "ip nht resolve-via-default");
        line!(text, "ipv6 nht resolve-via-default");
    }

    fn bfd(&self, text: &mut Text) {
        if self.bfd_profiles.is_empty() {
            return;
        }
        let mut profiles: Vec<_> = self.bfd_profiles.iter().collect();
        profiles.sort_by(|one, other| one.name.cmp(&other.name));
        line!(text, "bfd");
        for it in profiles {
            profile(text, it);
        }
    }
}

fn profile(text: &mut Text, profile: &BfdProfile) {
    line!(text, "  profile {}", profile.name);
    let interval = |value: Option<Duration>, default| value.map(|it| it.as_millis()).filter(|it| *it != default);
    if let Some(milliseconds) = interval(profile.receive_interval, INTERVAL) {
        line!(text, "    receive-interval {milliseconds}");
    }
    if let Some(milliseconds) = interval(profile.transmit_interval, INTERVAL) {
        line!(text, "    transmit-interval {milliseconds}");
    }
    if let Some(multiplier) = profile.detect_multiplier.filter(|it| *it != MULTIPLIER) {
        line!(text, "    detect-multiplier {multiplier}");
    }
    if profile.echo_mode {
        line!(text, "    echo-mode");
    }
    if let Some(milliseconds) = interval(profile.echo_interval, ECHO_INTERVAL) {
        line!(text, "    echo receive-interval {milliseconds}");
        line!(text, "    echo transmit-interval {milliseconds}");
    }
    if profile.passive_mode {
        line!(text, "    passive-mode");
    }
    if let Some(ttl) = profile.minimum_ttl.filter(|it| *it != MINIMUM_TTL) {
        line!(text, "    minimum-ttl {ttl}");
    }
}
