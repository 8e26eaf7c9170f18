//! Rules over whole configurations; the names in comments are those of the rules.

mod advertisements;
mod crowd;
mod general;
mod peers;
mod pools;
mod settled;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Backend, MyAsnScope, Options, Parsed, Resources, View, parse};

/// Decodes an object from the body of its spec, created at the given second.
fn object<K: DeserializeOwned>(name: &str, second: u8, spec: &Value) -> K {
    let metadata = json!({
        "name": name,
        "namespace": "metallb-system",
        "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
    });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
}

fn labelled<K: DeserializeOwned>(name: &str, labels: &Value) -> K {
    serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } })).unwrap()
}

/// Resources of one namespace, built up object by object; each is a second younger than the one before.
#[derive(Clone, Debug, Default)]
struct Cluster {
    resources: Resources,
    options: Options,
    second: u8,
}

fn cluster() -> Cluster {
    Cluster {
        resources: Resources {
            namespace: "metallb-system".to_owned(),
            ..Resources::default()
        },
        ..Cluster::default()
    }
}

macro_rules! builders {
    ($($method:ident => $list:ident),* $(,)?) => {
        $(
            #[allow(clippy::needless_pass_by_value)]
            fn $method(mut self, name: &str, spec: Value) -> Self {
                self.second += 1;
                self.resources.$list.push(object(name, self.second, &spec));
                self
            }
        )*
    };
}

impl Cluster {
    builders! {
        pool_spec => pools,
        legacy => address_pools,
        l2 => l2_advertisements,
        bgp => bgp_advertisements,
        peer_spec => peers,
        bfd => bfd_profiles,
        community => communities,
    }

    fn pool(self, name: &str, addresses: &[&str]) -> Self {
        self.pool_spec(name, json!({ "addresses": addresses }))
    }

    /// A peer that is right, with some fields changed.
    #[allow(clippy::needless_pass_by_value)]
    fn peer(self, name: &str, changes: Value) -> Self {
        let mut spec = json!({ "myASN": 64500, "peerASN": 64501, "peerAddress": "10.0.0.1" });
        for (key, value) in changes.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.peer_spec(name, spec)
    }

    #[allow(clippy::needless_pass_by_value)]
    fn node(mut self, name: &str, labels: Value) -> Self {
        self.resources.nodes.push(labelled(name, &labels));
        self
    }

    #[allow(clippy::needless_pass_by_value)]
    fn namespace(mut self, name: &str, labels: Value) -> Self {
        self.resources.namespaces.push(labelled(name, &labels));
        self
    }

    #[allow(clippy::needless_pass_by_value)]
    fn secret(mut self, name: &str, kind: &str, data: Value) -> Self {
        let body = json!({ "metadata": { "name": name }, "type": kind, "data": data });
        self.resources.secrets.push(serde_json::from_value(body).unwrap());
        self
    }

    fn admission(mut self) -> Self {
        self.options.view = View::Admission;
        self
    }

    fn on(mut self, node: &str) -> Self {
        self.options.view = View::Load {
            node: Some(node.to_owned()),
        };
        self
    }

    fn frr(mut self) -> Self {
        self.options.backend = Backend::Frr;
        self
    }

    fn scope(mut self, scope: MyAsnScope) -> Self {
        self.options.my_asn_scope = scope;
        self
    }

    fn parse(&self) -> Parsed {
        parse(&self.resources, &self.options)
    }

    /// What was refused, as text.
    fn refused(&self) -> Vec<String> {
        self.parse().refused.iter().map(ToString::to_string).collect()
    }

    /// Asserts that one thing is refused, and where and why.
    #[track_caller]
    fn refuses(&self, object: &str, field: &str, words: &str) {
        let refused = self.parse().refused;
        let [only] = refused.as_slice() else {
            panic!("expected one refusal: {refused:#?}")
        };
        assert_eq!(
            (only.object.to_string().as_str(), only.field.as_str()),
            (object, field),
            "{only}"
        );
        assert!(only.reason.contains(words), "{only}");
    }

    #[track_caller]
    fn accepts(&self) -> Parsed {
        let parsed = self.parse();
        assert_eq!(self.refused(), Vec::<String>::new());
        parsed
    }
}
