//! Every rule of `docs/validation.md`, asked of the installed webhooks by way of the API server: the example that breaks
//! it is refused (or warned of) with its words, its good twin is not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use kube::Client;
use metallb_config::Backend;
use metallb_rules::{self as rules, Effect, Entry, Stage};
use metallb_test_support::{Inside, Lab, Options, Steps, wait_for};
use serde_json::{Value, json};

use metallb_tests::Outcome;
use metallb_tests::ask::{Answer, ask};
use metallb_tests::rule_examples::{named, object};
use metallb_tests::schemas::one_node;

/// How long the webhooks may take to hear of the objects beside.
const PATIENCE: Duration = Duration::from_secs(10);
const DRY: &str = "dryRun=All";

pub(crate) fn refusals(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &one_node(options)).await?;
        let steps = Steps::new(&lab);
        steps.apply_crds().await?;
        steps.install_operator().await?;
        let client = lab.kube();
        let mut counts = (0, 0);
        for entry in rules::all()
            .into_iter()
            .filter(|entry| entry.backends.contains(&Backend::Native))
        {
            for &(stage, effect) in entry.at.iter().filter(|(stage, _)| asked_here(*stage, entry)) {
                let context = || format!("{} at {stage:?}", entry.rule);
                Example {
                    client: &client,
                    entry,
                    stage,
                    effect,
                }
                .check()
                .await
                .with_context(context)?;
                match effect {
                    Effect::Refused => counts.0 += 1,
                    Effect::Warned => counts.1 += 1,
                }
            }
        }
        println!(
            "{} refusals and {} warnings by rule, as documented; none of the good twins",
            counts.0, counts.1
        );
        lab.stop().await;
        Ok(())
    })
}

/// What the schema refuses never gets to the webhooks.
fn asked_here(stage: Stage, entry: &Entry) -> bool {
    let schema = entry.at.iter().any(|(stage, _)| *stage == Stage::Schema);
    match stage {
        Stage::Schema | Stage::Deletion => true,
        Stage::Admission => !schema,
        Stage::Load => false,
    }
}

struct Example<'a> {
    client: &'a Client,
    entry: &'a Entry,
    stage: Stage,
    effect: Effect,
}

impl Example<'_> {
    async fn check(&self) -> Result<()> {
        let beside: Vec<Value> = self.entry.beside.iter().map(object).collect();
        for object in &beside {
            make(self.client, object).await?;
        }
        let bad = self.settled(self.entry.bad, |answer| self.heard(answer)).await;
        let good = match self.stage {
            Stage::Deletion => Ok(()),
            _ => {
                self.settled(self.entry.good, |answer| answer.accepted() && !self.says(answer))
                    .await
            }
        };
        // What may not be deleted may be once the others are gone: the order finds itself.
        let subject = (self.stage == Stage::Deletion).then(|| named(self.entry, self.entry.bad));
        remove(self.client, beside.iter().chain(&subject)).await?;
        bad.context("the example")?;
        good.context("its good twin")
    }

    /// Asks until the answer is the one wanted, for the webhooks hear of other objects a moment later.
    async fn settled(&self, text: &'static str, wanted: impl Fn(&Answer) -> bool) -> Result<()> {
        let subject = named(self.entry, text);
        let before = match (self.stage, self.entry.before) {
            (Stage::Deletion, _) => Some(subject.clone()),
            (_, before) => before.map(|before| named(self.entry, before)),
        };
        if let Some(before) = &before {
            make(self.client, before).await?;
        }
        let mut last = String::new();
        let waited = wait_for("the verdict", PATIENCE, async || {
            let answer = self.asked(&subject, before.is_some()).await?;
            last = format!(
                "answered with {} {:?}, warned {:?}",
                answer.status,
                answer.message(),
                answer.warnings
            );
            Ok(wanted(&answer).then_some(()))
        });
        let waited = waited.await.with_context(|| last.clone());
        if self.stage != Stage::Deletion {
            remove(self.client, before.iter()).await?;
        }
        waited
    }

    async fn asked(&self, subject: &Value, exists: bool) -> Result<Answer> {
        let one = format!("{}?{DRY}", place(subject)?);
        match (self.stage, exists) {
            (Stage::Deletion, _) => ask(self.client, Method::DELETE, &one, None).await,
            (_, true) => {
                let stored = ask(self.client, Method::GET, &place(subject)?, None).await?;
                let mut subject = subject.clone();
                subject["metadata"]["resourceVersion"] = stored.body["metadata"]["resourceVersion"].clone();
                ask(self.client, Method::PUT, &one, Some(&subject)).await
            }
            (_, false) => {
                ask(
                    self.client,
                    Method::POST,
                    &format!("{}?{DRY}", list(subject)?),
                    Some(subject),
                )
                .await
            }
        }
    }

    fn heard(&self, answer: &Answer) -> bool {
        match (self.effect, self.stage) {
            // The schema has its own words.
            (Effect::Refused, Stage::Schema) => answer.status == 422,
            (Effect::Refused, _) => !answer.accepted() && self.says(answer),
            (Effect::Warned, _) => answer.accepted() && self.says(answer),
        }
    }

    fn says(&self, answer: &Answer) -> bool {
        let warned = answer.warnings.iter().any(|warning| warning.contains(self.entry.words));
        warned || answer.message().contains(self.entry.words)
    }
}

fn list(object: &Value) -> Result<String> {
    let kind = object["kind"].as_str().context("no kind")?;
    let namespace = object["metadata"]["namespace"].as_str().context("no namespace")?;
    Ok(match kind {
        "Node" => "/api/v1/nodes".into(),
        "Secret" | "Service" => format!("/api/v1/namespaces/{namespace}/{}s", kind.to_lowercase()),
        _ => {
            let plural = if kind == "Community" {
                "communities".into()
            } else {
                format!("{}s", kind.to_lowercase())
            };
            let version = object["apiVersion"].as_str().context("no version")?;
            format!("/apis/{version}/namespaces/{namespace}/{plural}")
        }
    })
}

fn place(object: &Value) -> Result<String> {
    Ok(format!(
        "{}/{}",
        list(object)?,
        object["metadata"]["name"].as_str().context("no name")?
    ))
}

/// Creates an object, with its namespace and its status.
async fn make(client: &Client, object: &Value) -> Result<()> {
    let mut object = object.clone();
    let core = matches!(object["kind"].as_str(), Some("Node" | "Secret" | "Service"));
    if core {
        object["apiVersion"] = json!("v1");
    }
    if object["kind"] == "Service" {
        let namespace = json!({ "metadata": { "name": object["metadata"]["namespace"] } });
        ask(client, Method::POST, "/api/v1/namespaces", Some(&namespace)).await?;
        object["spec"]["ports"] = json!([{ "port": 80 }]);
    }
    let made = ask(client, Method::POST, &list(&object)?, Some(&object)).await?;
    ensure!(made.accepted(), "cannot make {}: {}", place(&object)?, made.message());
    if core && object.get("status").is_some() {
        let mut whole = made.body;
        whole["status"] = object["status"].clone();
        let path = format!("{}/status", place(&object)?);
        let told = ask(client, Method::PUT, &path, Some(&whole)).await?;
        ensure!(told.accepted(), "cannot write {path}: {}", told.message());
    }
    Ok(())
}

async fn remove(client: &Client, objects: impl Iterator<Item = &Value>) -> Result<()> {
    let paths: Vec<String> = objects.map(place).collect::<Result<_>>()?;
    wait_for("the objects to be gone", PATIENCE, async || {
        let mut gone = true;
        for path in &paths {
            ask(client, Method::DELETE, path, None).await?;
            gone &= ask(client, Method::GET, path, None).await?.status == 404;
        }
        Ok(gone.then_some(()))
    })
    .await
}
