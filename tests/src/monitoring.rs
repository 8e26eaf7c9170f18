//! What the alerts and the dashboard ask for, and a Prometheus that asks it in the lab.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use metallb_api::MetalLBSpec;
use metallb_manifests::{Environment, dashboard, desired};
use metallb_test_support::{Inside, Lab, Options, apply, wait_for};
use promql_parser::parser::{Expr, parse};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::Outcome;
use crate::metrics::Reader;
use crate::path::announced;

const NAMESPACE: &str = "metallb-system";
const PATIENCE: Duration = Duration::from_secs(120);
/// Where Prometheus answers, in the namespace of the test.
const ADDRESS: &str = "127.0.0.1:9090";
/// Set to write what the programs expose to `tests/data/metrics`.
const RECORD: &str = "METALLB_RECORD";

/// Labels that a scrape adds, and Prometheus itself.
const SCRAPED: [&str; 7] = ["namespace", "pod", "job", "container", "alertname", "alertstate", "le"];
/// What is there only once another host has claimed an address, or sent a frame that nobody answers.
const LATE: [(&str, [&str; 2]); 2] = [
    ("metallb_layer2_conflicts_total", ["ip", "kind"]),
    ("metallb_layer2_dropped_total", ["interface", "reason"]),
];
/// Panels without a value as long as nothing fills up, nobody fails over, or nothing is queued.
const EMPTY: [&str; 3] = ["Days until full", "Percentiles", "Waiting time"];

/// A peer that does not exist.
const NOBODY: &str = "
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: nobody, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: nobody, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 64599, peerAddress: 172.30.0.99, bfdProfile: nobody}
";

/// The operator's alerts, without the pools that a regular expression fits.
#[must_use]
pub fn alerts(exclude_pools: &str) -> Vec<Value> {
    let variable = |name| {
        let value = match name {
            "OPERATOR_NAMESPACE" => NAMESPACE,
            "CONTROLLER_IMAGE" | "SPEAKER_IMAGE" => "example.com/metallb:v1",
            "DEPLOY_PROMETHEUSRULES" => "true",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let spec = json!({ "metrics": { "prometheusRule": { "excludePools": exclude_pools } } });
    let spec: MetalLBSpec = serde_json::from_value(spec).unwrap();
    let mut environment = Environment::from_variables(variable).unwrap();
    environment.platform.prometheus_rules = true;
    let objects = desired(&spec, &environment).unwrap();
    let objects = objects.iter().map(|object| serde_json::to_value(object).unwrap());
    let rules: Vec<Value> = objects.filter(|object| object["kind"] == "PrometheusRule").collect();
    let groups = rules.iter().flat_map(|rule| rule["spec"]["groups"].as_array().unwrap());
    groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .cloned()
        .collect()
}

/// The queries of each panel of the dashboard, with everything chosen.
#[must_use]
pub fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (title.to_owned(), target["expr"].as_str().unwrap().to_owned()))
    });
    let chosen = |query: String| {
        let query = query
            .replace("$__rate_interval", "10s")
            .replace("$namespace", NAMESPACE);
        ["$node", "$pool", "$peer"]
            .iter()
            .fold(query, |query, variable| query.replace(variable, ".*"))
    };
    targets.map(|(title, query)| (title, chosen(query))).collect()
}

/// The metrics that an expression reads, and the labels that it names.
fn read(expression: &Expr, metrics: &mut BTreeMap<String, BTreeSet<String>>, outer: &BTreeSet<String>) {
    match expression {
        Expr::Aggregate(it) => {
            let mut labels = outer.clone();
            labels.extend(it.modifier.iter().flat_map(|by| by.labels().labels.iter().cloned()));
            read(&it.expr, metrics, &labels);
        }
        Expr::Unary(it) => read(&it.expr, metrics, outer),
        Expr::Paren(it) => read(&it.expr, metrics, outer),
        Expr::Subquery(it) => read(&it.expr, metrics, outer),
        Expr::Binary(it) => {
            read(&it.lhs, metrics, outer);
            read(&it.rhs, metrics, outer);
        }
        Expr::Call(it) => it.args.args.iter().for_each(|argument| read(argument, metrics, outer)),
        Expr::VectorSelector(it) => {
            let labels = it.matchers.matchers.iter().map(|matcher| matcher.name.clone());
            // frr-k8s calls them after itself.
            let name = it.name.clone().unwrap_or_default().replace("frrk8s_", "metallb_");
            metrics.entry(name).or_default().extend(labels.chain(outer.clone()));
        }
        Expr::MatrixSelector(it) => read(&Expr::VectorSelector(it.vs.clone()), metrics, outer),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// Names and labels of all series of an exposition, the first of each kind with its line.
fn series(exposition: &str) -> BTreeMap<(String, BTreeSet<String>), String> {
    let mut kinds = BTreeMap::new();
    let is_series = |line: &&str| line.starts_with(|first: char| first.is_ascii_lowercase()) && line.contains(' ');
    for line in exposition.lines().filter(is_series) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap_or((line, ""));
        let labels = rest.split("=\"").filter_map(|before| before.rsplit(['"', ',']).next());
        let labels = match line.contains('{') {
            true => labels
                .map(str::to_owned)
                .filter(|label| !label.contains(['}', ' ']))
                .collect(),
            false => BTreeSet::new(),
        };
        kinds
            .entry((name.to_owned(), labels))
            .or_insert_with(|| line.to_owned());
    }
    kinds
}

/// What alerts and dashboard read and is not in these expositions.
#[must_use]
pub fn missing(expositions: &[String]) -> Vec<String> {
    let mut used = BTreeMap::new();
    let alerts = alerts("");
    let expressions = alerts.iter().map(|alert| alert["expr"].as_str().unwrap().to_owned());
    for expression in expressions.chain(queries().into_iter().map(|(_, query)| query)) {
        let parsed = parse(&expression).unwrap_or_else(|why| panic!("{expression}: {why}"));
        read(&parsed, &mut used, &BTreeSet::new());
    }
    let mut exposed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, labels) in expositions.iter().flat_map(|text| series(text).into_keys()) {
        exposed.entry(name).or_default().extend(labels);
    }
    let late = LATE.map(|(name, labels)| (name.to_owned(), labels.map(str::to_owned).into()));
    exposed.extend(late);
    exposed.insert("ALERTS".to_owned(), BTreeSet::new());
    let lacks = used.into_iter().filter_map(|(name, labels)| {
        let Some(known) = exposed.get(&name) else {
            return Some(name);
        };
        let unknown = |label: &String| !known.contains(label) && !SCRAPED.contains(&label.as_str());
        let unknown: Vec<_> = labels.into_iter().filter(unknown).collect();
        (!unknown.is_empty()).then(|| format!("{name}: {unknown:?}"))
    });
    lacks.collect()
}

/// Why no Prometheus can be asked here.
#[must_use]
pub fn obstacle() -> Option<String> {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("prometheus").is_file()));
    (!found).then(|| "prometheus is not installed (Debian: prometheus)".to_owned())
}

/// All that is asked is answered, and a lost session is the only critical alert.
pub fn with_prometheus(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let dir = inside.dir.join("prometheus");
        let lab = Lab::start(inside, &options).await?;
        announced(&lab).await?;
        let client = lab.kube();
        let reader = Reader::new(&client).await?;
        let targets = targets(&client).await?;
        let _prometheus = start(&dir, reader.token(), &targets)?;
        let critical = async |wanted: &[&str]| {
            wait_for(&format!("the alerts {wanted:?}"), PATIENCE, async || {
                Ok((firing().await.unwrap_or_default()
                    == BTreeSet::from_iter(wanted.iter().map(|it| (*it).to_owned())))
                .then_some(()))
            })
            .await
        };
        critical(&[]).await?;
        apply(&client, NOBODY).await?;
        critical(&["MetalLBBFDSessionDown", "MetalLBBGPSessionDown"]).await?;
        wait_for("every panel to have something to show", PATIENCE, async || {
            let mut empty = BTreeSet::new();
            for (title, query) in queries() {
                let answer = ask("query", &query).await.with_context(|| query.clone())?;
                if answer["result"].as_array().is_none_or(Vec::is_empty) {
                    empty.insert(title);
                }
            }
            let unexpected: Vec<_> = empty.iter().filter(|title| !EMPTY.contains(&title.as_str())).collect();
            if !unexpected.is_empty() {
                eprintln!("nothing to show: {unexpected:?}");
            }
            Ok(unexpected.is_empty().then_some(()))
        })
        .await?;
        critical(&["MetalLBBFDSessionDown", "MetalLBBGPSessionDown"]).await?;
        let mut texts = BTreeMap::new();
        for Target { component, address, .. } in &targets {
            texts
                .entry(component.clone())
                .or_insert_with(String::new)
                .push_str(exposition(&reader.read_from(address.parse()?).await?));
        }
        let lacking = missing(&texts.values().cloned().collect::<Vec<_>>());
        ensure!(lacking.is_empty(), "no program exposes {lacking:?}");
        if std::env::var_os(RECORD).is_some() {
            record(&texts)?;
        }
        lab.stop().await;
        Ok(())
    })
}

/// An answer without its head.
fn exposition(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or(answer, |(_, body)| body)
}

/// A pod that is scraped.
struct Target {
    component: String,
    pod: String,
    address: String,
}

async fn targets(client: &Client) -> Result<Vec<Target>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let ours = ListParams::default().labels("component in (controller, speaker, webhook-server)");
    let targets = pods.list(&ours).await?.into_iter().filter_map(|pod| {
        Some(Target {
            component: pod.labels().get("component")?.clone(),
            pod: pod.name_any(),
            address: format!("{}:9120", pod.status.as_ref()?.pod_ip.as_ref()?),
        })
    });
    let targets: Vec<_> = targets.collect();
    let components: BTreeSet<_> = targets.iter().map(|target| &target.component).collect();
    ensure!(components.len() == 3, "only {components:?} can be scraped");
    Ok(targets)
}

fn start(dir: &Path, token: &str, targets: &[Target]) -> Result<Child> {
    std::fs::create_dir_all(dir)?;
    let target = |target: &Target| {
        let labels = json!({ "namespace": NAMESPACE, "pod": target.pod, "container": target.component });
        json!({ "targets": [target.address], "labels": labels })
    };
    let config = json!({
        "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{
            "job_name": "metallb", "scheme": "https", "honor_labels": true,
            "tls_config": { "insecure_skip_verify": true }, "authorization": { "credentials": token },
            "static_configs": targets.iter().map(target).collect::<Vec<_>>(),
        }],
    });
    let mut rules = alerts("");
    for rule in &mut rules {
        // How long they wait is tested on a clock of its own.
        rule["for"] = json!("0s");
    }
    let rules = json!({ "groups": [{ "name": "metallb.rules", "rules": rules }] });
    std::fs::write(dir.join("rules.yaml"), rules.to_string())?;
    std::fs::write(dir.join("prometheus.yaml"), config.to_string())?;
    let log = std::fs::File::create(dir.join("log"))?;
    Command::new("prometheus")
        .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={ADDRESS}"))
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start prometheus")
}

/// The critical alerts that fire.
async fn firing() -> Result<BTreeSet<String>> {
    let data = ask("alerts", "").await?;
    let alerts = data["alerts"].as_array().context("no list of alerts")?.iter();
    let critical = alerts.filter(|alert| alert["state"] == "firing" && alert["labels"]["severity"] == "critical");
    Ok(critical
        .filter_map(|alert| alert["labels"]["alertname"].as_str().map(ToOwned::to_owned))
        .collect())
}

async fn ask(what: &str, query: &str) -> Result<Value> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut stream = TcpStream::connect(ADDRESS).await?;
    // HTTP/1.0: the answer comes in one piece.
    let request = format!("GET /api/v1/{what}?query={encoded} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let mut body: Value = serde_json::from_str(body)?;
    ensure!(body["status"] == "success", "{body}");
    Ok(body["data"].take())
}

/// Writes one series of each kind.
fn record(texts: &BTreeMap<String, String>) -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/metrics");
    std::fs::create_dir_all(&dir)?;
    for (component, text) in texts {
        let lines: String = series(text).into_values().map(|line| line + "\n").collect();
        std::fs::write(dir.join(format!("{component}.prom")), lines)?;
    }
    Ok(())
}
