//! Parses FRR's description of its sessions.

use serde_json::{Map, Value};

/// A session as FRR describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Session {
    /// The peer: address (and port, for BGP) or network interface.
    pub(super) peer: String,
    /// The VRF, `default` for none.
    pub(super) vrf: String,
    facts: Value,
}

impl Session {
    /// The number at a path such as `["messageStats", "opensSent"]`; 0 if there is none.
    pub(super) fn number(&self, path: &[&str]) -> f64 {
        self.fact(path).and_then(Value::as_f64).unwrap_or_default()
    }

    pub(super) fn says(&self, fact: &str, word: &str) -> bool {
        self.fact(&[fact]).and_then(Value::as_str) == Some(word)
    }

    /// The number of announced prefixes, over all address families.
    pub(super) fn announced(&self) -> f64 {
        let families = self.fact(&["addressFamilyInfo"]).and_then(Value::as_object);
        let sent = |family: &Value| family.get("sentPrefixCounter").and_then(Value::as_f64);
        // Not `sum`, which gives -0 for no families.
        families
            .into_iter()
            .flat_map(Map::values)
            .filter_map(sent)
            .fold(0.0, |all, one| all + one)
    }

    fn fact(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.facts, |facts, name| facts.get(name))
    }
}

/// Parses `show bgp vrf all neighbors json`. Unnumbered neighbours are keyed by interface.
///
/// Upstream: expects every key to be an address, and exports nothing if one is not.
pub(super) fn bgp(answer: &Value) -> Vec<Session> {
    let mut sessions = Vec::new();
    for (vrf, neighbours) in answer.as_object().into_iter().flatten() {
        for (key, facts) in neighbours.as_object().into_iter().flatten() {
            if !facts.is_object() {
                continue;
            }
            let is_address = key.parse::<std::net::IpAddr>().is_ok();
            let port = facts.get("portForeign").and_then(Value::as_i64).unwrap_or(-1);
            let peer = match is_address {
                true => format!("{key}:{port}"),
                false => key.clone(),
            };
            sessions.push(Session {
                peer,
                vrf: vrf.clone(),
                facts: facts.clone(),
            });
        }
    }
    sessions
}

/// Parses `show bfd peers json` or `show bfd peers counters json`.
pub(super) fn bfd(answer: &Value) -> Vec<Session> {
    let text = |facts: &Value, name: &str| facts.get(name).and_then(Value::as_str).map(str::to_owned);
    let session = |facts: &Value| {
        Some(Session {
            peer: text(facts, "peer")?,
            vrf: text(facts, "vrf").unwrap_or_else(|| "default".to_owned()),
            facts: facts.clone(),
        })
    };
    answer.as_array().into_iter().flatten().filter_map(session).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // FRR-40, FRR-41
    #[test]
    fn one_neighbour_without_numbers_hides_no_other() {
        let families = json!({ "ipv4Unicast": { "sentPrefixCounter": 2 }, "ipv6Unicast": { "sentPrefixCounter": 1 } });
        let up = json!({ "bgpState": "Established", "portForeign": 179, "addressFamilyInfo": families, "messageStats": { "opensSent": 3 } });
        let answer = json!({
            "default": { "vrfId": 0, "vrfName": "default", "eth1": { "bgpState": "Idle", "portForeign": -1 }, "192.0.2.1": up },
            "red": { "192.0.2.1": { "bgpState": "Active", "portForeign": -1 } },
        });
        let sessions = bgp(&answer);
        let named: Vec<_> = sessions.iter().map(|it| (it.peer.as_str(), it.vrf.as_str())).collect();
        assert_eq!(
            named,
            [
                ("eth1", "default"),
                ("192.0.2.1:179", "default"),
                ("192.0.2.1:-1", "red")
            ]
        );
        assert!(sessions[1].says("bgpState", "Established") && !sessions[2].says("bgpState", "Established"));
        assert_eq!((sessions[1].announced(), sessions[2].announced()), (3.0, 0.0));
        assert_eq!(sessions[1].number(&["messageStats", "opensSent"]), 3.0);
        assert_eq!(bgp(&json!([])), []);
    }

    #[test]
    fn sessions_of_bfd_have_their_vrf() {
        let answer = json!([{ "peer": "192.0.2.1", "vrf": "red", "status": "up" }, { "nothing": 1 }]);
        let sessions = bfd(&answer);
        assert_eq!(sessions.len(), 1);
        assert!(sessions[0].says("status", "up") && sessions[0].vrf == "red");
    }
}
