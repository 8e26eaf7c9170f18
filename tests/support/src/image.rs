//! The product's image, as the Dockerfile makes it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What the manifests call the image.
const IMAGE: &str = concat!("ghcr.io/metallb-rs/metallb:v", env!("CARGO_PKG_VERSION"));

/// Builds the product's image as the Dockerfile does, without an engine, beside this executable; returns the archive.
///
/// # Errors
/// When there are no sources here, or the build fails; its messages are shown.
pub(crate) fn image() -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let script = workspace.unwrap_or_else(|| Path::new("/")).join(".ci/image");
    ensure!(
        script.is_file(),
        "no sources to build the image from: name an archive by --image"
    );
    let own = std::env::current_exe().context("cannot find this executable")?;
    let archive = own.with_file_name("metallb-image.tar");
    eprintln!("building the image {IMAGE}: minutes once, seconds when nothing changed");
    let mut command = Command::new(&script);
    // What cargo tells those whom it starts makes another cargo build anew what asks for it, and all that depends on that.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            command.env_remove(&name);
        }
    }
    let status = command.args([&archive, Path::new(IMAGE)]).status();
    let status = status.with_context(|| format!("cannot start {}", script.display()))?;
    ensure!(status.success(), "the image could not be built; the messages are above");
    Ok(archive)
}
