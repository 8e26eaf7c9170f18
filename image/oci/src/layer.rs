//! The one layer: the root as a tar.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tar::{Builder, EntryType, Header};

/// Packs a folder in the order of its names. Everything is root's, as after a COPY; modes are kept, and times are not, so
/// that the same files make the same layer.
///
/// # Errors
/// A file cannot be read, or is none of folder, file and link.
pub(crate) fn of(root: &Path) -> anyhow::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    append(&mut builder, root, Path::new(""))?;
    builder.into_inner().context("cannot end the layer")
}

fn append(builder: &mut Builder<Vec<u8>>, root: &Path, folder: &Path) -> anyhow::Result<()> {
    for path in entries(root, folder)? {
        let full = root.join(&path);
        let failed = || format!("cannot pack {}", full.display());
        let metadata = fs::symlink_metadata(&full).with_context(failed)?;
        let mut header = Header::new_gnu();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        let kind = metadata.file_type();
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            builder
                .append_data(&mut header, path.join(""), [].as_slice())
                .with_context(failed)?;
            append(builder, root, &path)?;
        } else if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(&full).with_context(failed)?;
            builder.append_link(&mut header, &path, target).with_context(failed)?;
        } else if kind.is_file() {
            let data = fs::read(&full).with_context(failed)?;
            header.set_entry_type(EntryType::Regular);
            header.set_size(data.len() as u64);
            builder
                .append_data(&mut header, &path, data.as_slice())
                .with_context(failed)?;
        } else {
            let what = if kind.is_socket() {
                "a socket"
            } else {
                "a device or pipe"
            };
            bail!("{} is {what}: an image holds folders, files and links", full.display())
        }
    }
    Ok(())
}

/// What is in a folder, relative to the root.
fn entries(root: &Path, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let full = root.join(folder);
    let failed = || format!("cannot read {}", full.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(&full).with_context(failed)? {
        all.push(folder.join(entry.with_context(failed)?.file_name()));
    }
    all.sort();
    Ok(all)
}
