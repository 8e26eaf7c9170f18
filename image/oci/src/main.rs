//! Packs a laid-out root file system as the image that the Dockerfile describes, with no container engine:
//! `metallb-oci NAME ROOTFS OUT.tar [ARG=VALUE...]`, in the folder of the Dockerfile.
//!
//! The archive is an OCI image layout, which `ctr images import`, `docker load` and `podman load` take. `NAME` is what
//! the image is called afterwards, and `ARG=VALUE` does what `docker build --build-arg` does. The same input makes the
//! same archive, byte for byte.
//!
//! Only the last stage of the Dockerfile is read: it says as whom and how the program runs. What it copies is the root
//! that `.ci/rootfs` has laid out, here as there.

mod dockerfile;
mod layer;
mod program;
mod words;

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, bail, ensure};
use metallb_oci::Archive;

use dockerfile::Stage;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, root, out, arguments @ ..] = args.as_slice() else {
        bail!("usage: metallb-oci NAME ROOTFS OUT.tar [ARG=VALUE...]")
    };
    let began = Instant::now();
    let text = fs::read_to_string("Dockerfile").context("cannot read Dockerfile")?;
    let packed = pack(name, &text, arguments, Path::new(root))?;
    let out = Path::new(out);
    // Whoever waits for the archive never sees a part of one.
    let unfinished = out.with_extension("part");
    fs::write(&unfinished, &packed).with_context(|| format!("cannot write {}", unfinished.display()))?;
    fs::rename(&unfinished, out).with_context(|| format!("cannot write {}", out.display()))?;
    println!(
        "{name}: {} kB in {}, packed in {:.1} s",
        packed.len() / 1000,
        out.display(),
        began.elapsed().as_secs_f32()
    );
    Ok(())
}

/// Makes the archive of the image `name`.
///
/// # Errors
/// The name is not complete, the Dockerfile says what is not understood, or the root cannot be read or started.
fn pack(name: &str, dockerfile: &str, arguments: &[String], root: &Path) -> anyhow::Result<Vec<u8>> {
    check_name(name)?;
    let stage = Stage::last_of(dockerfile, arguments).context("Dockerfile")?;
    let architecture = program::architecture(root, &stage.entrypoint)?;
    let mut archive = Archive::default();
    let layer = archive.compressed_layer(&layer::of(root)?)?;
    archive.image(name, architecture, &stage.config(), &layer);
    archive.finish()
}

/// Checks that a name is complete, for nothing completes it on the way into a node.
///
/// # Errors
/// It lacks a registry or a tag, or is none.
fn check_name(name: &str) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests;
