//! What `kubectl metallb plan` says of addresses is what the controller does when the change is made.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;
use k8s_openapi::api::core::v1::Node;

use super::*;

/// Addresses by Service.
type Addresses = BTreeMap<String, Vec<String>>;

/// Says whether what came is what was planned. Of Services that wait at the same time the controller serves one first whose
/// turn it is, so which of them gets which address may differ.
fn agree(came: &Addresses, planned: &Addresses, moved: &BTreeSet<String>) -> bool {
    let parted = |all: &Addresses| {
        let (moved, kept): (Addresses, Addresses) = all.clone().into_iter().partition(|(name, _)| moved.contains(name));
        let mut moved: Vec<Vec<String>> = moved.into_values().collect();
        moved.sort();
        (kept, moved)
    };
    parted(came) == parted(planned)
}

/// A change: what is deleted, then what is applied, in this order.
struct Change {
    name: &'static str,
    delete: &'static [&'static str],
    apply: Vec<Value>,
}

fn pool(name: &str, addresses: &[&str], more: &Value) -> Value {
    let mut spec = json!({ "addresses": addresses });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec })
}

fn service(name: &str, annotations: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": "default", "annotations": annotations },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }], "selector": { "app": name } } })
}

fn advertisement(pools: &[&str]) -> Value {
    json!({ "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": { "name": "lan", "namespace": NAMESPACE }, "spec": { "ipAddressPools": pools } })
}

fn changes() -> Vec<Change> {
    let none = json!({});
    let change = |name, delete, apply| Change { name, delete, apply };
    vec![
        change("shrunk", &[], vec![pool("p", &["10.0.0.2-10.0.0.5"], &none)]),
        change("shrunk too far", &[], vec![pool("p", &["10.0.0.1-10.0.0.2"], &none)]),
        change(
            "split",
            &[],
            vec![
                pool("p", &["10.0.0.0-10.0.0.1"], &none),
                pool("q", &["10.0.0.2-10.0.0.5"], &none),
            ],
        ),
        change(
            "renamed",
            &["IPAddressPool/p"],
            vec![pool("q", &["10.0.0.0-10.0.0.5"], &none)],
        ),
        change(
            "priority",
            &[],
            vec![
                pool(
                    "q",
                    &["10.0.1.0-10.0.1.5"],
                    &json!({ "serviceAllocation": { "priority": 1 } }),
                ),
                service("e", &none),
            ],
        ),
        change("narrowed", &[], vec![advertisement(&["other"])]),
        change(
            "asked for",
            &["Service/default/b"],
            vec![
                service("e", &json!({ "metallb.io/loadBalancerIPs": "10.0.0.1" })),
                service("a", &json!({ "metallb.io/loadBalancerIPs": "10.0.0.5" })),
            ],
        ),
        change(
            "refused",
            &[],
            vec![
                pool("overlap", &["10.0.0.4-10.0.0.9"], &none),
                pool("late", &["10.0.2.0/30"], &none),
            ],
        ),
    ]
}

impl Cluster {
    /// Four Services with addresses, and one that waits for a pool `late`.
    async fn quiet() -> (Self, Controller) {
        let cluster = Self::with_pool("10.0.0.0-10.0.0.5").await;
        let nodes: Api<Node> = Api::all(cluster.client.clone());
        create(&nodes, json!({ "metadata": { "name": "node-a" } })).await;
        cluster.apply(&advertisement(&["p"])).await;
        let controller = cluster.controller("controller-1");
        for name in ["a", "b", "c", "d"] {
            cluster.service(name).await;
            wait_for(|| async { !cluster.ip(name).await.is_empty() }).await;
        }
        cluster
            .apply(&service("w", &json!({ "metallb.io/address-pool": "late" })))
            .await;
        wait_for(|| async { !cluster.reason("w").await.is_empty() }).await;
        (cluster, controller)
    }

    async fn apply(&self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let params = PatchParams::apply("user").force();
        let patch = Patch::Apply(object);
        match object["kind"].as_str().unwrap() {
            "Service" => drop(self.services().patch(name, &params, &patch).await.unwrap()),
            "IPAddressPool" => drop(self.ours::<IPAddressPool>().patch(name, &params, &patch).await.unwrap()),
            _ => drop(
                self.ours::<metallb_api::L2Advertisement>()
                    .patch(name, &params, &patch)
                    .await
                    .unwrap(),
            ),
        }
    }

    async fn delete(&self, named: &str) {
        let name = named.rsplit('/').next().unwrap();
        let params = DeleteParams::default();
        match named.starts_with("Service/") {
            true => drop(self.services().delete(name, &params).await.unwrap()),
            false => drop(self.ours::<IPAddressPool>().delete(name, &params).await.unwrap()),
        }
    }

    async fn all(&self) -> Addresses {
        let all = self.services().list(&ListParams::default()).await.unwrap();
        let named = all
            .items
            .into_iter()
            .map(|service| (service.name_any(), addresses(service)));
        named.collect()
    }

    /// The plan of a change, read from this cluster.
    async fn plan(&self, change: &Change, dir: &Path) -> Value {
        let file = dir.join("change.json");
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": change.apply });
        std::fs::write(&file, list.to_string()).unwrap();
        let delete = change.delete.iter().map(|named| format!("--delete={named}"));
        let fixed = [
            "kubectl-metallb",
            "plan",
            "-o",
            "json",
            "--request-timeout",
            "60s",
            "--metallb-namespace",
            NAMESPACE,
        ];
        let places = [
            file.display().to_string(),
            format!("--kubeconfig={}", self.api.kubeconfig_path().display()),
        ];
        let line: Vec<String> = fixed
            .map(str::to_owned)
            .into_iter()
            .chain(places)
            .chain(delete)
            .collect();
        let run = move || metallb_cli::run(&metallb_cli::Args::parse_from(line));
        let (text, error, code) = tokio::task::spawn_blocking(run).await.unwrap();
        assert_eq!((error.as_str(), code), ("", 1), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until no Service has an address that no pool holds any more.
    async fn follows_pools(&self) {
        wait_for(|| async {
            let pools = self.ours::<IPAddressPool>().list(&ListParams::default()).await.unwrap();
            let texts = pools.items.iter().flat_map(|pool| &pool.spec.addresses);
            let ranges: Vec<_> = texts
                .map(|text| metallb_config::AddressRange::parse(text).unwrap())
                .collect();
            let all = self.all().await;
            let mut used = all.values().flatten().map(|ip| ip.parse().unwrap());
            used.all(|ip| ranges.iter().any(|range| range.contains(ip)))
        })
        .await;
    }
}

// CLI-31, of addresses
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_the_controller_does() {
    let (mut effects, mut wrong) = (0, Vec::new());
    for change in changes() {
        let (cluster, controller) = Cluster::quiet().await;
        let dir = tempfile::tempdir().unwrap();
        let plan = cluster.plan(&change, dir.path()).await;
        let mut planned = cluster.all().await;
        let before = planned.clone();
        for named in change.delete {
            planned.remove(named.rsplit('/').next().unwrap());
        }
        for object in change.apply.iter().filter(|object| object["kind"] == "Service") {
            planned
                .entry(object["metadata"]["name"].as_str().unwrap().to_owned())
                .or_default();
        }
        let mut moved = BTreeSet::new();
        for row in plan["plan"]["addresses"].as_array().unwrap() {
            let name = row["service"].as_str().unwrap().trim_start_matches("default/");
            assert_eq!(
                decode::<Vec<String>>(row["before"].clone()),
                before.get(name).cloned().unwrap_or_default()
            );
            if let Some(own) = planned.get_mut(name) {
                *own = decode(row["after"].clone());
            }
            moved.insert(name.to_owned());
            effects += 1;
        }
        for named in change.delete {
            cluster.delete(named).await;
            if named.starts_with("IPAddressPool/") {
                cluster.follows_pools().await;
            }
        }
        for object in &change.apply {
            cluster.apply(object).await;
            cluster.follows_pools().await;
        }
        let poll = async {
            while !agree(&cluster.all().await, &planned, &moved) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), poll).await.is_err() {
            let came = cluster.all().await;
            wrong.push(format!("{}: {planned:?} was planned, {came:?} came", change.name));
        }
        controller.stop().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(effects > 8, "{effects}");
}
