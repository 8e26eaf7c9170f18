//! The lab's own program as an OCI archive: the web server of the backends, and the sandbox of every pod.
//!
//! It is linked to libraries of the machine, which come along: those that this process has loaded.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use metallb_oci::Archive;
use serde_json::json;

use metallb_lab::{BACKEND as SERVE, arch};

use super::settings::{BACKEND, PAUSE};
use crate::stages::PAUSE as WAIT;

const USER: &str = "65534:65534";

/// Writes the archive, as `ctr images import` takes it.
pub(super) fn pack(program: &Path, out: &Path) -> Result<()> {
    let layer = layer(program).context("cannot read the program and its libraries")?;
    let mut archive = Archive::default();
    let layer = archive.layer(layer);
    for (name, stage) in [(BACKEND, SERVE), (PAUSE, WAIT)] {
        let config = json!({ "User": USER, "Entrypoint": ["/lab", stage] });
        archive.image(name, arch(), &config, &layer);
    }
    fs::write(out, archive.finish()?).with_context(|| format!("cannot write {}", out.display()))
}

/// The root file system: the program, and what it is linked to.
fn layer(program: &Path) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "lab", &fs::read(program)?, 0o755)?;
    for library in libraries()? {
        append(&mut tar, relative(&library), &fs::read(&library)?, 0o755)?;
        // Whatever a distribution has behind links: the interpreter is called by its old place.
        let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("ld-linux") && !library.starts_with("/lib64") {
            append(&mut tar, format!("lib64/{name}"), &fs::read(&library)?, 0o755)?;
            append(&mut tar, format!("lib/{name}"), &fs::read(&library)?, 0o755)?;
        }
    }
    Ok(tar.into_inner()?)
}

/// The files of code that this process has mapped, but for the program itself.
fn libraries() -> Result<BTreeSet<PathBuf>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    Ok(paths.filter(|path| path.contains(".so")).map(PathBuf::from).collect())
}

pub(super) fn append(tar: &mut tar::Builder<impl Write>, path: impl AsRef<Path>, data: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(tar.append_data(&mut header, path, data)?)
}

pub(super) fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_archive_holds_two_images_of_one_layer() {
        let dir = tempfile::tempdir().unwrap();
        let (program, out) = (dir.path().join("program"), dir.path().join("out.tar"));
        fs::write(&program, "p").unwrap();
        pack(&program, &out).unwrap();
        let mut archive = tar::Archive::new(File::open(&out).unwrap());
        let mut names = Vec::new();
        let mut index = Value::Null;
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            names.push(entry.path().unwrap().display().to_string());
            if names.last().unwrap() == "index.json" {
                index = serde_json::from_reader(entry).unwrap();
            }
        }
        let manifests = index["manifests"].as_array().unwrap();
        let called: Vec<_> = manifests
            .iter()
            .map(|manifest| manifest["annotations"]["io.containerd.image.name"].as_str().unwrap())
            .collect();
        assert_eq!(called, [BACKEND, PAUSE]);
        // One layer, two configurations and two manifests.
        assert_eq!(names.iter().filter(|name| name.starts_with("blobs/sha256/")).count(), 5);
    }
}
