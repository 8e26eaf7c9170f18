//! Every field with values that keep and break what the table says of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use metallb_test_support::{Inside, Lab, Options, RouterKind, Steps};
use serde_json::{Value, json};

use crate::Outcome;
use crate::ask::ask;
use crate::table::{Block, Case, blocks};

/// How many requests are under way at a time.
const AT_ONCE: usize = 8;

/// A control plane without nodes.
pub fn nodeless(options: Options) -> Options {
    Options {
        nodes: 0,
        router: RouterKind::Builtin,
        ..options
    }
}

/// With one node, on which the product runs, and whatever router is there at once.
pub fn one_node(options: Options) -> Options {
    Options {
        nodes: 1,
        router: RouterKind::Builtin,
        ..options
    }
}

pub fn fields(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &nodeless(options)).await?;
        let client = lab.kube();
        Steps::new(&lab).apply_crds().await?;
        without_conversion(&client).await?;
        let names = metallb_crdgen::crds().into_iter().map(|crd| crd.spec.names);
        let plurals: BTreeMap<_, _> = names.map(|names| (names.kind, names.plural)).collect();
        let (mut fields, mut verdicts, mut wrong) = (0, 0, Vec::new());
        // The kind that frr-k8s brings too takes everything.
        for block in blocks().into_iter().filter(|block| block.kind != "BGPSessionState") {
            let plural = plurals
                .get(&block.kind)
                .with_context(|| format!("no kind {}", block.kind))?;
            let asked = Asked {
                client: &client,
                block: &block,
                path: format!("/apis/metallb.io/{}/namespaces/default/{plural}", block.version),
            };
            let said = asked
                .all()
                .await
                .with_context(|| format!("{} {}", block.kind, block.version))?;
            fields += block.fields();
            verdicts += said.len();
            wrong.extend(said.into_iter().flatten());
        }
        ensure!(
            wrong.is_empty(),
            "{} of {verdicts} verdicts differ:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        println!("{fields} fields, {verdicts} verdicts as tabulated");
        lab.stop().await;
        Ok(())
    })
}

/// Nobody converts here; each version is judged by its own schema all the same.
async fn without_conversion(client: &Client) -> Result<()> {
    for mut crd in metallb_crdgen::crds() {
        let Some(conversion) = crd
            .spec
            .conversion
            .as_mut()
            .filter(|conversion| conversion.strategy != "None")
        else {
            continue;
        };
        conversion.strategy = "None".into();
        conversion.webhook = None;
        let api: kube::Api<CustomResourceDefinition> = kube::Api::all(client.clone());
        let name = crd.metadata.name.clone().context("a definition without a name")?;
        crd.metadata.resource_version = api.get(&name).await?.metadata.resource_version;
        api.replace(&name, &Default::default(), &crd).await?;
    }
    Ok(())
}

struct Asked<'a> {
    client: &'a Client,
    block: &'a Block,
    path: String,
}

impl Asked<'_> {
    /// Asks everything; what is said that differs from the table comes back.
    async fn all(&self) -> Result<Vec<Option<String>>> {
        let cases = |status| {
            self.block
                .cases(status)
                .into_iter()
                .enumerate()
                .map(move |(n, case)| (n, case, status))
        };
        let numbered = cases(false).chain(cases(true));
        let verdicts = stream::iter(numbered)
            .map(|(n, case, status)| self.one(n, case, status))
            .buffered(AT_ONCE);
        let mut verdicts: Vec<Option<String>> = verdicts.try_collect().await?;
        verdicts.extend([self.columns().await?, self.unknown_field().await?]);
        Ok(verdicts)
    }

    async fn one(&self, number: usize, case: Case, status: bool) -> Result<Option<String>> {
        let name = format!("case-{number}{}", if status { "-status" } else { "" });
        let Some(before) = case.before.clone().or_else(|| status.then(|| json!({}))) else {
            return self.created(&name, &case).await;
        };
        let path = &self.path;
        let made = ask(
            self.client,
            Method::POST,
            path,
            Some(&self.object(&name, self.block.smallest())),
        )
        .await?;
        ensure!(made.accepted(), "cannot make an object: {}", made.message());
        let version = made.body["metadata"]["resourceVersion"].clone();
        let place = format!("{path}/{name}{}", if status { "/status" } else { "" });
        let version = match case.before {
            None => version,
            Some(_) => {
                let first = ask(
                    self.client,
                    Method::PUT,
                    &place,
                    Some(&self.at(&name, before, &version)),
                )
                .await?;
                ensure!(first.accepted(), "{}: cannot begin: {}", case.what, first.message());
                first.body["metadata"]["resourceVersion"].clone()
            }
        };
        let strict = format!("{place}?fieldValidation=Strict");
        let answer = ask(
            self.client,
            Method::PUT,
            &strict,
            Some(&self.at(&name, case.body.clone(), &version)),
        )
        .await?;
        ask(self.client, Method::DELETE, &format!("{path}/{name}"), None).await?;
        Ok(self.differs(&case, answer.status, answer.message(), &answer.body))
    }

    async fn created(&self, name: &str, case: &Case) -> Result<Option<String>> {
        let path = format!("{}?dryRun=All&fieldValidation=Strict", self.path);
        let answer = ask(
            self.client,
            Method::POST,
            &path,
            Some(&self.object(name, case.body.clone())),
        )
        .await?;
        if answer.accepted() && answer.warnings != Vec::from_iter(self.block.deprecated.clone()) {
            return Ok(Some(format!(
                "{} {}: warned {:?}",
                self.block.kind, case.what, answer.warnings
            )));
        }
        Ok(self.differs(case, answer.status, answer.message(), &answer.body))
    }

    fn differs(&self, case: &Case, status: u16, message: &str, body: &Value) -> Option<String> {
        let what = format!("{} {} {}", self.block.kind, self.block.version, case.what);
        match (case.accepted, status) {
            (true, 200..300) => {
                let (place, default) = case.default.as_ref()?;
                let found = first_at(body, place);
                (found != Some(default)).then(|| format!("{what}: {default} expected, {found:?} filled in"))
            }
            (false, 400 | 422) => None,
            (true, _) => Some(format!("{what}: refused with {status}: {message}")),
            (false, _) => Some(format!("{what}: answered with {status}")),
        }
    }

    async fn columns(&self) -> Result<Option<String>> {
        let request = http::Request::get(&self.path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let table: Value = self.client.request(request.body(Vec::new())?).await?;
        let columns = table["columnDefinitions"].as_array().context("no columns")?;
        let shown: Vec<&str> = columns.iter().filter_map(|column| column["name"].as_str()).collect();
        let mut wanted: Vec<&str> = vec!["Name"];
        wanted.extend(self.block.columns.iter().map(|(name, _)| name.as_str()));
        if self.block.columns.is_empty() {
            wanted.push("Age");
        }
        Ok((shown != wanted).then(|| format!("{}: columns {shown:?}, tabulated {wanted:?}", self.block.kind)))
    }

    async fn unknown_field(&self) -> Result<Option<String>> {
        let mut object = self.object("unknown", self.block.smallest());
        object["noSuchField"] = json!(1);
        let path = format!("{}?dryRun=All&fieldValidation=Strict", self.path);
        let answer = ask(self.client, Method::POST, &path, Some(&object)).await?;
        let told = !answer.accepted() && answer.message().contains("noSuchField");
        Ok((!told).then(|| format!("{}: noSuchField is not refused: {}", self.block.kind, answer.message())))
    }

    fn object(&self, name: &str, mut body: Value) -> Value {
        body["apiVersion"] = format!("metallb.io/{}", self.block.version).into();
        body["kind"] = self.block.kind.clone().into();
        body["metadata"] = json!({ "name": name });
        body
    }

    fn at(&self, name: &str, body: Value, version: &Value) -> Value {
        let mut object = self.object(name, body);
        if object.get("spec").is_none()
            && let Some(spec) = self.block.smallest().get("spec")
        {
            object["spec"] = spec.clone();
        }
        object["metadata"]["resourceVersion"] = version.clone();
        object
    }
}

/// What stands there, in the first item of lists.
fn first_at<'a>(mut value: &'a Value, place: &[String]) -> Option<&'a Value> {
    for step in place {
        value = if step == "*" { value.get(0)? } else { value.get(step)? };
    }
    Some(value)
}

pub fn manifests(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let lab = Lab::start(inside, &nodeless(options)).await?;
        let client = lab.kube();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");
        let mut count = 0;
        // What needs kinds of the Prometheus operator or of OpenShift is left out; the last is applied twice.
        for name in [
            "crds.yaml",
            "metallb-operator.yaml",
            "frr-k8s-crds.yaml",
            "network-policies.yaml",
            "metallb-native.yaml",
            "metallb-frr.yaml",
            "metallb-frr-k8s.yaml",
            "metallb-frr-k8s.yaml",
        ] {
            let text = std::fs::read_to_string(format!("{folder}/{name}"))?;
            let objects: Vec<Option<Value>> = serde_saphyr::from_multiple(&text)?;
            for object in objects.iter().flatten() {
                unwarned(&client, object).await.with_context(|| format!("in {name}"))?;
                count += 1;
            }
        }
        println!("{count} objects of the manifests accepted without a warning");
        lab.stop().await;
        Ok(())
    })
}

async fn unwarned(client: &Client, object: &Value) -> Result<()> {
    let (version, kind) = (
        object["apiVersion"].as_str().unwrap_or_default(),
        object["kind"].as_str().unwrap_or_default(),
    );
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let kinds: Value = client
        .request(http::Request::get(format!("{root}/{version}")).body(Vec::new())?)
        .await?;
    let resource = kinds["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|resource| resource["kind"] == kind && !resource["name"].as_str().unwrap_or_default().contains('/'));
    let plural = resource
        .and_then(|resource| resource["name"].as_str())
        .with_context(|| format!("no kind {kind}"))?;
    let namespace = object["metadata"]["namespace"]
        .as_str()
        .map(|name| format!("/namespaces/{name}"));
    let path = format!(
        "{root}/{version}{}/{plural}/{name}?fieldManager=kubectl&fieldValidation=Strict",
        namespace.unwrap_or_default()
    );
    let answer = ask(client, Method::PATCH, &path, Some(object)).await?;
    if !answer.accepted() {
        bail!("{kind} {name} was refused: {}", answer.message());
    }
    ensure!(answer.warnings.is_empty(), "{kind} {name}: {:?}", answer.warnings);
    Ok(())
}
