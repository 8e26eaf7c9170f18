//! The product's programs: this executable, which links them all and is whichever it is called by.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

const OWN: &str = "metallb-lab";
const PRODUCTS: [&str; 3] = ["metallb-operator", "metallb-controller", "metallb-speaker"];

/// Runs the product that this process was called as, if any.
pub(crate) fn called(name: &OsString) -> Option<ExitCode> {
    metallb_image::program(name).map(|program| program())
}

/// Keeps a copy of this executable under the names of all programs in the work directory: a build that replaces the file
/// meanwhile changes nothing. It is in memory, in mounts of our own: a file that was replaced cannot be shown to pods, and
/// work directories may be where nothing can be executed.
///
/// # Errors
/// When there is no memory for it, or the kernel refuses.
pub(crate) fn pin(work: &Path) -> Result<()> {
    let folder = folder(work);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), &folder, Some("tmpfs"), flags, Some("mode=0755"))
        .with_context(|| format!("cannot mount a tmpfs at {}", folder.display()))?;
    fs::copy("/proc/self/exe", lab(work)).context("cannot copy this executable")?;
    for name in PRODUCTS {
        symlink(OWN, folder.join(name)).with_context(|| format!("cannot make {name} in {}", folder.display()))?;
    }
    Ok(())
}

/// The folder of the kept programs.
pub(crate) fn folder(work: &Path) -> PathBuf {
    work.join("programs")
}

/// The kept lab, whatever it is called by.
pub(crate) fn lab(work: &Path) -> PathBuf {
    folder(work).join(OWN)
}

/// Checks that a folder of other people's making holds all programs of the product.
///
/// # Errors
/// When it does not; the message names what is missing.
pub(crate) fn complete(dir: &Path) -> Result<PathBuf> {
    let dir = dir
        .canonicalize()
        .with_context(|| format!("--bin-dir {} is not there", dir.display()))?;
    let missing: Vec<&str> = PRODUCTS.into_iter().filter(|name| !dir.join(name).is_file()).collect();
    if missing.is_empty() {
        return Ok(dir);
    }
    bail!(
        "{} not found in {}: leave out --bin-dir to run what is linked into the lab",
        missing.join(", "),
        dir.display()
    )
}
