//! The OCI image layout in one tar: `oci-layout`, `index.json`, and blobs by digest.

use std::{collections::BTreeMap, io::Write};

use anyhow::Context;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

/// An archive that is being put together.
#[derive(Default)]
pub struct Archive {
    /// By their digest.
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
}

/// One layer of images in an archive.
pub struct Layer {
    descriptor: Value,
    /// The digest of what is not compressed.
    diff_id: String,
}

impl Archive {
    /// Adds a layer as it is: quick.
    pub fn layer(&mut self, tar: Vec<u8>) -> Layer {
        let diff_id = digest(&tar);
        let descriptor = self.blob("layer.v1.tar", tar);
        Layer { descriptor, diff_id }
    }

    /// Adds a layer compressed: small.
    ///
    /// # Errors
    /// It cannot be compressed.
    pub fn compressed_layer(&mut self, tar: &[u8]) -> anyhow::Result<Layer> {
        Ok(Layer {
            descriptor: self.blob("layer.v1.tar+gzip", compressed(tar)?),
            diff_id: digest(tar),
        })
    }

    /// Adds an image of one layer for Linux; `config` says how it is run.
    pub fn image(&mut self, name: &str, architecture: &str, config: &Value, layer: &Layer) {
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
        });
        let config = self.blob("config.v1+json", config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer.descriptor],
        });
        let mut manifest = self.blob("manifest.v1+json", manifest.to_string().into_bytes());
        manifest["platform"] = json!({ "architecture": architecture, "os": "linux" });
        // containerd and Docker go by the first, Podman by the second.
        manifest["annotations"] = json!({
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name,
        });
        self.manifests.push(manifest);
    }

    /// Packs everything.
    ///
    /// # Errors
    /// A file does not fit into a tar.
    pub fn finish(self) -> anyhow::Result<Vec<u8>> {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.manifests,
        });
        let mut tar = Builder::new(Vec::new());
        append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut tar, "index.json", index.to_string().as_bytes())?;
        for (digest, data) in &self.blobs {
            append(&mut tar, &format!("blobs/{}", digest.replace(':', "/")), data)?;
        }
        tar.into_inner().context("cannot end the archive")
    }

    /// Adds a blob, and describes it.
    fn blob(&mut self, kind: &str, data: Vec<u8>) -> Value {
        let digest = digest(&data);
        let descriptor = json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": digest,
            "size": data.len(),
        });
        self.blobs.insert(digest, data);
        descriptor
    }
}

fn digest(data: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(data))
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
