//! The OCI image layout in one tar: `oci-layout`, `index.json`, and blobs by digest.

use std::{collections::BTreeMap, io::Write};

use anyhow::{Context, ensure};
use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use crate::dockerfile::Stage;

/// Checks that a name is complete, for nothing completes it on the way into a node.
///
/// # Errors
/// It lacks a registry or a tag, or is none.
pub(crate) fn check_name(name: &str) -> anyhow::Result<()> {
    let complete = name.split_once('/').is_some_and(|(registry, rest)| {
        let registry_like = registry == "localhost" || registry.contains(['.', ':']);
        let tag = rest.rsplit_once('/').map_or(rest, |(_, last)| last).split_once(':');
        registry_like && tag.is_some_and(|(repository, tag)| !repository.is_empty() && !tag.is_empty())
    });
    ensure!(
        complete && !name.contains(char::is_whitespace) && !name.contains('@'),
        "the image's name must be REGISTRY/REPOSITORY:TAG, not {name:?}"
    );
    Ok(())
}

/// Blobs by their digest.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds a blob, and describes it.
    fn add(&mut self, kind: &str, data: Vec<u8>) -> Value {
        let digest = digest(&data);
        let descriptor = json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": digest,
            "size": data.len(),
        });
        self.0.insert(digest, data);
        descriptor
    }
}

fn digest(data: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(data))
}

/// Makes the archive of an image with one layer.
///
/// # Errors
/// It cannot be compressed or packed.
pub(crate) fn archive(name: &str, stage: &Stage, architecture: &str, layer: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut blobs = Blobs::default();
    let packed = blobs.add("layer.v1.tar+gzip", compressed(layer)?);
    let config = config(stage, architecture, &digest(layer));
    let config = blobs.add("config.v1+json", config.to_string().into_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [packed],
    });
    let mut manifest = blobs.add("manifest.v1+json", manifest.to_string().into_bytes());
    manifest["platform"] = json!({ "architecture": architecture, "os": "linux" });
    // containerd and Docker go by the first, Podman by the second.
    manifest["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name,
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    });
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", index.to_string().as_bytes())?;
    for (digest, data) in &blobs.0 {
        append(&mut tar, &format!("blobs/{}", digest.replace(':', "/")), data)?;
    }
    tar.into_inner().context("cannot end the archive")
}

fn config(stage: &Stage, architecture: &str, layer: &str) -> Value {
    let environment: Vec<_> = stage
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let labels: Map<_, _> = stage
        .labels
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": stage.user,
            "Env": environment,
            "Entrypoint": stage.entrypoint,
            "WorkingDir": "/",
            "Labels": labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    })
}

fn compressed(data: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    gzip.write_all(data)
        .and_then(|()| gzip.finish())
        .context("cannot compress the layer")
}

fn append(tar: &mut Builder<Vec<u8>>, path: &str, data: &[u8]) -> anyhow::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, path, data)
        .with_context(|| format!("cannot pack {path}"))
}
