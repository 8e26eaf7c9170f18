//! The catalog served as the image of `olm/catalog.Dockerfile` serves it, and asked as OLM asks it: by gRPC.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Request;
use metallb_judges::repository;
use metallb_judges::tools::{OPM, run};
use metallb_test_support::wait_for;
use tokio::net::TcpStream;

/// How long the server may take to read the catalog.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running `opm serve`.
struct Served {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Served {
    fn start(opm: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let serve = || {
            let mut command = Command::new(opm);
            command
                .arg("serve")
                .arg(repository().join("olm/configs"))
                .arg("--cache-dir")
                .arg(folder.path().join("cache"))
                .arg("--termination-log")
                .arg(folder.path().join("termination"))
                .args(["--pprof-addr", ""])
                .stderr(Stdio::null());
            command
        };
        // As in the image, the cache is made first, and then relied on.
        run(serve().arg("--cache-only"))?;
        let process = serve()
            .args(["--port", &port.to_string()])
            .spawn()
            .context("cannot start opm")?;
        Ok(Self {
            process,
            port,
            _folder: folder,
        })
    }

    /// Calls a method; the answers, one after the other, as they are on the wire.
    async fn call(&self, method: &str, message: &[u8]) -> Result<Vec<u8>> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let (client, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        let request = Request::post(format!("http://localhost/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (answer, mut body) = client.ready().await?.send_request(request, false)?;
        body.send_data(framed(message), true)?;
        let mut stream = answer.await?.into_body();
        let mut bytes = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            bytes.extend_from_slice(&data);
        }
        let trailers = stream.trailers().await?.context("an answer without a status")?;
        ensure!(trailers["grpc-status"] == "0", "{method}: {trailers:?}");
        Ok(bytes)
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A message as gRPC sends it: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("messages here are short");
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

/// Text fields of a message, numbered from 1.
fn texts(fields: &[&str]) -> Vec<u8> {
    let field = |(number, text): (u8, &&str)| {
        let length = u8::try_from(text.len()).expect("texts here are short");
        [&[number << 3 | 2, length], text.as_bytes()].concat()
    };
    (1..).zip(fields).flat_map(field).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

// OP-94: the catalog is served
pub(crate) async fn the_catalog_is_served_with_package_channels_and_bundle() {
    serves(&OPM.program()).await.unwrap();
}

async fn serves(opm: &Path) -> Result<()> {
    let served = Served::start(opm)?;
    wait_for("the catalog to be served", PATIENCE, async || {
        let health = served.call("grpc.health.v1.Health/Check", &[]).await;
        // The one field says SERVING.
        Ok(health.ok().filter(|answer| answer[5..] == [8, 1]))
    })
    .await?;
    let packages = served.call("api.Registry/ListPackages", &[]).await?;
    assert_eq!(packages, framed(&texts(&["metallb-operator"])));
    let package = served
        .call("api.Registry/GetPackage", &texts(&["metallb-operator"]))
        .await?;
    let head = format!("metallb-operator.v{}", env!("CARGO_PKG_VERSION"));
    for text in ["stable", "candidate", &head] {
        assert!(contains(&package, text), "{text} is not in the package");
    }
    let asked = texts(&["metallb-operator", "stable"]);
    let bundle = served.call("api.Registry/GetBundleForChannel", &asked).await?;
    assert!(contains(&bundle, &head) && contains(&bundle, "metallbs.metallb.io"));
    Ok(())
}
