//! FRR's image, built from the machine's packages because there is no registry: paths, start script and user IDs are those of
//! FRR's own image, the programs are Debian's.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use metallb_lab::arch;
use metallb_oci::Archive;
use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::image::{append, relative};

const FRR: &str = "/usr/lib/frr";
const PYTHON: &str = "/usr/bin/python3";
/// Commands and interpreters that FRR's scripts need.
const PROGRAMS: [&str; 11] = [
    "/usr/bin/bash",
    "/usr/bin/cat",
    "/usr/bin/chmod",
    "/usr/bin/cp",
    "/usr/bin/dirname",
    "/usr/bin/grep",
    "/usr/bin/install",
    PYTHON,
    "/usr/bin/rm",
    "/usr/bin/sleep",
    "/usr/bin/vtysh",
];
/// Symbolic links from `/` into `/usr` on a machine with merged `/usr`.
const LINKS: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
/// Files that are written here. tini only has to start its arguments; Debian's vtysh authenticates through PAM.
const FILES: [(&str, &str); 5] = [
    ("etc/passwd", "root:x:0:0::/:/bin/sh\nfrr:x:100:101::/:/bin/false\n"),
    ("etc/group", "root:x:0:\nfrr:x:101:\nfrrvty:x:102:frr\n"),
    (
        "etc/pam.d/frr",
        "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n",
    ),
    ("usr/sbin/tini", "#!/bin/sh\nshift\nexec \"$@\"\n"),
    (
        "usr/lib/frr/docker-start",
        "#!/bin/bash
log_success_msg() { echo \"$@\"; }
log_warning_msg() { echo \"$@\" >&2; }
log_failure_msg() { echo \"$@\" >&2; }
source /usr/lib/frr/frrcommon.sh
/usr/lib/frr/watchfrr $(daemon_list)
",
    ),
];

/// Writes the archive of the image `name`, as `ctr images import` takes it.
pub(super) fn pack(name: &str, out: &Path) -> Result<()> {
    let mut archive = Archive::default();
    let layer = layer().context("cannot lay out FRR")?;
    let layer = archive.layer(layer);
    let config = json!({
        "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        "Entrypoint": ["/sbin/tini", "--", "/usr/lib/frr/docker-start"],
    });
    archive.image(name, arch(), &config, &layer);
    fs::write(out, archive.finish()?).with_context(|| format!("cannot write {}", out.display()))
}

fn layer() -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for link in LINKS {
        if let Ok(target) = fs::read_link(Path::new("/").join(link)) {
            symlink(&mut tar, link, &target)?;
        }
    }
    symlink(&mut tar, "usr/bin/sh", Path::new("bash"))?;
    for (path, text) in FILES {
        let script = text.starts_with("#!");
        append(&mut tar, path, text.as_bytes(), if script { 0o755 } else { 0o644 })?;
    }
    let mut files: BTreeSet<PathBuf> = PROGRAMS.map(PathBuf::from).into();
    find(Path::new(FRR), &|_| true, &mut files)?;
    files.extend(libraries(&files)?);
    // vtysh loads it at run time, so ldd does not name it.
    let pam = files.iter().find(|path| path.ends_with("libpam.so.0"));
    files.extend(pam.map(|pam| pam.with_file_name("security/pam_permit.so")));
    let wanted = |folder: &OsStr| folder != "test" && !folder.to_string_lossy().starts_with("config-");
    find(&modules()?, &wanted, &mut files)?;
    for file in files {
        let data = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
        append(&mut tar, relative(&file), &data, mode)?;
    }
    Ok(tar.into_inner()?)
}

fn symlink(tar: &mut Builder<Vec<u8>>, path: &str, target: &Path) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    Ok(tar.append_link(&mut header, path, target)?)
}

/// All files below `folder`, but for those in folders that are not `wanted`.
fn find(folder: &Path, wanted: &dyn Fn(&OsStr) -> bool, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if !path.is_dir() {
            files.insert(path);
        } else if path.file_name().is_some_and(wanted) {
            find(&path, wanted, files)?;
        }
    }
    Ok(())
}

/// The folder of Python's modules.
fn modules() -> Result<PathBuf> {
    let mut python = Command::new(PYTHON);
    python.args(["-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]);
    let said = python.output().context("cannot start Python")?;
    ensure!(said.status.success(), "Python does not say where its modules are");
    Ok(String::from_utf8(said.stdout)?.trim().into())
}

/// The libraries that programs are linked to, where they really are.
fn libraries(files: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let programs = files.iter().filter(|file| is_program(file));
    let said = Command::new("ldd")
        .args(programs)
        .output()
        .context("cannot start ldd")?;
    ensure!(said.status.success(), "ldd: {}", String::from_utf8_lossy(&said.stderr));
    let found = paths(&String::from_utf8(said.stdout)?);
    // Only the folder is resolved: the loader looks for the name, which may itself be a link.
    let real = found.iter().map(|path| {
        let folder = path.parent().context("no folder")?.canonicalize()?;
        Ok(folder.join(path.file_name().context("no name")?))
    });
    real.collect()
}

fn is_program(file: &Path) -> bool {
    fs::read(file).is_ok_and(|data| data.starts_with(b"\x7fELF"))
}

/// The paths that ldd names.
fn paths(said: &str) -> BTreeSet<PathBuf> {
    let lines = said.lines().filter_map(|line| line.split_once(" (0x"));
    lines
        .filter_map(|(line, _)| line.find('/').map(|at| line[at..].into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_says() {
        let said = "/usr/lib/frr/zebra:\n\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f1)\n\t/lib64/ld.so.2 (0x00007f2)\n/usr/bin/cat:\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f3)\n";
        let wanted = ["/lib/x/libc.so.6", "/lib64/ld.so.2"].map(PathBuf::from);
        assert_eq!(paths(said), wanted.into());
    }
}
