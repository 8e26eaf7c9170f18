//! The operator's program by itself: started by hand beside the API server, and looked at by what it serves.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use metallb_api::names;
use metallb_manifests::install::{Install, webhook_configurations};
use metallb_runtime::tls::self_signed;
use metallb_test_support::{Inside, Lab, Options, RouterKind, Steps, wait_for};
use metallb_tests::tls::{connect, connect_with};
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use metallb_tests::Outcome;

const NAMESPACE: &str = "metallb-system";
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the lab's API server is for processes of the lab.
const API_SERVER: &str = "https://172.30.0.1:6443";
const HEALTH: u16 = 8080;
const WEBHOOK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), names::WEBHOOK_PORT);
/// What is missing until somebody can be answered.
const NOT_YET: &str = "waiting for: webhook certificates";

/// How the program is started.
struct Program {
    path: PathBuf,
    kubeconfig: PathBuf,
}

impl Program {
    fn new(lab: &Lab, options: &Options, dir: &Path) -> Result<Self> {
        let outside = fs::read_to_string(lab.kubeconfig())?;
        let server = outside.lines().find_map(|line| line.trim().strip_prefix("server: "));
        let kubeconfig = dir.join("kubeconfig");
        fs::write(&kubeconfig, outside.replace(server.context("no server")?, API_SERVER))?;
        Ok(Self {
            path: options.programs.dir.join("metallb-operator"),
            kubeconfig,
        })
    }

    fn command(&self, args: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .envs([
                ("OPERATOR_NAMESPACE", NAMESPACE),
                ("CONTROLLER_IMAGE", "metallb:1"),
                ("SPEAKER_IMAGE", "metallb:1"),
            ])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn start(&self, args: &[&str], variables: &[(&str, &str)]) -> Result<Child> {
        Ok(self.command(args, variables).spawn()?)
    }

    /// Starts with a setting that cannot be used.
    async fn refuses(&self, variable: &str, value: &str, words: &str) -> Result<()> {
        let mut command = self.command(&[], &[(variable, value)]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .with_context(|| format!("it runs with {variable}={value}"))??;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(
            !output.status.success() && said.contains(words),
            "{variable}={value}: {said}"
        );
        Ok(())
    }
}

/// Asks the health server; nothing when nobody answers.
async fn ask(path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, HEALTH)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

async fn says(path: &str, status: u16, body: &str) -> Result<()> {
    let mut last = None;
    let waited = wait_for(&format!("{path} to say {status} {body}"), PATIENCE, async || {
        last = ask(path).await;
        Ok((last == Some((status, body.to_owned()))).then_some(()))
    })
    .await;
    waited.with_context(|| format!("it says {last:?}"))
}

/// What an installation has before the first operator starts.
async fn install(client: &Client) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } }))?;
    namespaces.create(&PostParams::default(), &namespace).await?;
    create_secret(client).await?;
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    for object in webhook_configurations(&Install::release(NAMESPACE)) {
        let configuration = serde_json::from_value(serde_json::to_value(&object)?)?;
        configurations.create(&PostParams::default(), &configuration).await?;
    }
    Ok(())
}

fn secrets(client: &Client) -> Api<Secret> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn create_secret(client: &Client) -> Result<()> {
    let secret = serde_json::from_value(json!({ "metadata": { "name": names::OPERATOR_WEBHOOK_SECRET } }))?;
    secrets(client).create(&PostParams::default(), &secret).await?;
    Ok(())
}

pub(crate) async fn configuration(client: &Client) -> Result<ValidatingWebhookConfiguration> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    Ok(configurations.get(names::OPERATOR_WEBHOOK_CONFIGURATION).await?)
}

/// The CA that the API server is told to trust.
pub(crate) fn bundle(configuration: &ValidatingWebhookConfiguration) -> Option<Vec<u8>> {
    let webhook = configuration.webhooks.as_ref()?.first()?;
    Some(webhook.client_config.ca_bundle.clone()?.0)
}

/// Revisions of what nobody may touch who is given certificates.
async fn revisions(client: &Client) -> Result<[Option<String>; 2]> {
    let secret = secrets(client).get(names::OPERATOR_WEBHOOK_SECRET).await?;
    Ok([
        secret.resource_version(),
        configuration(client).await?.resource_version(),
    ])
}

// OP-50 OP-52 OP-54
pub(crate) fn by_itself(inside: Inside, options: Options) -> Outcome {
    Box::pin(async move {
        let options = Options {
            nodes: 0,
            router: RouterKind::Builtin,
            ..options
        };
        let lab = Lab::start(inside, &options).await?;
        let client = lab.kube();
        Steps::new(&lab).apply_crds().await?;
        install(&client).await?;
        let dir = tempfile::tempdir()?;
        let program = Program::new(&lab, &options, dir.path())?;
        for (variable, value, words) in [
            ("TLS_CIPHER_SUITES", "FAKE_CIPHER", "parsing tls-cipher-suites"),
            ("TLS_CURVE_PREFERENCES", "29,29", "parsing tls-curve-preferences"),
            ("TLS_MIN_VERSION", "VersionTLS99", "parsing tls-min-version"),
        ] {
            program.refuses(variable, value, words).await?;
        }
        with_given_certificates(&program, &client, &dir.path().join("certs")).await?;
        with_own_certificates(&program, &client).await?;
        lab.stop().await;
        Ok(())
    })
}

async fn with_given_certificates(program: &Program, client: &Client, folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    let before = revisions(client).await?;
    let place = format!("--cert-dir={}", folder.display());
    let mut operator = program.start(&["--disable-cert-rotation", &place], &[])?;
    says("/readyz", 503, NOT_YET).await?;
    says("/healthz", 200, "ok").await?;
    ensure!(
        connect(WEBHOOK).await.is_none(),
        "somebody is served without a certificate"
    );
    let pair = self_signed()?;
    fs::write(folder.join("tls.crt"), &pair.certificate)?;
    fs::write(folder.join("tls.key"), &pair.key)?;
    says("/readyz", 200, "ok").await?;
    ensure!(
        connect_with(WEBHOOK, &[&TLS13]).await.is_some(),
        "ready, and nobody answers"
    );
    ensure!(connect_with(WEBHOOK, &[&TLS12]).await.is_none(), "TLS 1.2 by default");
    ensure!(revisions(client).await? == before, "Secret or CA were touched");
    Ok(operator.kill().await?)
}

async fn with_own_certificates(program: &Program, client: &Client) -> Result<()> {
    secrets(client)
        .delete(names::OPERATOR_WEBHOOK_SECRET, &DeleteParams::default())
        .await?;
    let mut operator = program.start(&[], &[("TLS_MIN_VERSION", "VersionTLS10")])?;
    says("/readyz", 503, NOT_YET).await?;
    create_secret(client).await?;
    says("/readyz", 200, "ok").await?;
    ensure!(
        connect_with(WEBHOOK, &[&TLS12]).await.is_some(),
        "no TLS 1.2 though it was asked for"
    );
    let secret = secrets(client).get(names::OPERATOR_WEBHOOK_SECRET).await?;
    let data = secret.data.context("nothing in the Secret")?;
    let keys: Vec<_> = data.keys().map(String::as_str).collect();
    ensure!(keys == ["ca.crt", "ca.key", "tls.crt", "tls.key"], "{keys:?}");
    let injected = bundle(&configuration(client).await?);
    ensure!(injected.as_ref() == Some(&data["ca.crt"].0), "another CA is injected");
    Ok(operator.kill().await?)
}
