//! Writes a bill of materials (CycloneDX 1.5) and the licences of everything that is linked into a program:
//! `metallb-sbom PACKAGE TARGET FOLDER`.

mod licences;
mod materials;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [package, target, folder] = args.as_slice() else {
        bail!("usage: metallb-sbom PACKAGE TARGET FOLDER")
    };
    let metadata = metadata(target)?;
    let linked = materials::linked(&metadata, package)?;
    let folder = PathBuf::from(folder);
    fs::create_dir_all(folder.join("LICENSES")).with_context(|| format!("cannot make {}", folder.display()))?;
    let bill = serde_json::to_string_pretty(&materials::bill(&linked, package)?)?;
    fs::write(folder.join("sbom.cdx.json"), bill + "\n")?;
    fs::write(folder.join("LICENSES/third-party.txt"), licences::texts(&linked)?)?;
    Ok(())
}

/// What cargo knows of the workspace in which this runs.
fn metadata(target: &str) -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            target,
        ])
        .output()
        .context("cannot start cargo")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    serde_json::from_slice(&output.stdout).context("cargo metadata is no JSON")
}
