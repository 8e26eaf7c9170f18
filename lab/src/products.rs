//! The three binaries of the product: where they are, and building them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const PACKAGES: [&str; 3] = ["metallb-operator", "metallb-controller", "metallb-speaker"];

/// The folder with the binaries: `chosen`, or where this executable is after building them there.
///
/// # Errors
/// When they are missing and cannot be built.
pub(crate) fn folder(chosen: Option<&Path>) -> Result<PathBuf> {
    if let Some(dir) = chosen {
        let dir = dir
            .canonicalize()
            .with_context(|| format!("--bin-dir {} is not there", dir.display()))?;
        return complete(&dir).map(|()| dir);
    }
    let (target, profile) = target_folder()?;
    build(&target, &profile)?;
    let dir = target.join(&profile);
    complete(&dir).map(|()| dir)
}

fn complete(dir: &Path) -> Result<()> {
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|name| !dir.join(name).is_file()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "{} not found in {}: build with `cargo build --release`, or name the folder with --bin-dir",
        missing.join(", "),
        dir.display()
    )
}

/// `…/target/release/metallb-lab` and `…/target/release/deps/e2e-0123` → (`…/target`, `release`).
pub(crate) fn target_folder() -> Result<(PathBuf, String)> {
    let own = std::env::current_exe().context("cannot find this executable")?;
    let mut dir = own.parent().context("this executable has no folder")?;
    if dir.ends_with("deps") {
        dir = dir.parent().unwrap_or(dir);
    }
    let profile = dir
        .file_name()
        .and_then(|name| name.to_str())
        .context("this executable is in no target folder")?;
    Ok((dir.parent().unwrap_or(dir).into(), profile.into()))
}

/// Lets cargo decide whether anything is to be done; its progress is shown, for the first time takes minutes.
fn build(target: &Path, profile: &str) -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("/"));
    if !workspace.join("Cargo.toml").is_file() {
        // Installed without its sources: what lies beside must do.
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--locked", "--target-dir"])
        .arg(target);
    command.args(["--profile", if profile == "debug" { "dev" } else { profile }]);
    // Resolved together with the lab, the products share its build of what both need.
    command.args(
        PACKAGES
            .iter()
            .chain(&["metallb-lab"])
            .flat_map(|package| ["-p", package]),
    );
    let status = command
        .status()
        .context("cannot start cargo: put it in PATH, or name built binaries with --bin-dir")?;
    if !status.success() {
        bail!("cargo could not build the product; its messages are above");
    }
    Ok(())
}
