//! Volumes as folders: written before the start, and kept up to date by swapping a link, so that a program
//! never sees half of a change (the kubelet's "atomic writer").

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume, VolumeProjection};

use super::environment::{Place, field_value, find};
use crate::cluster::Cluster;

/// Where a pod finds its service account.
pub(crate) const ACCOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The kubelet's default of `defaultMode`.
const DEFAULT_MODE: u32 = 0o644;

/// The contents of a folder: path → (bytes, mode).
pub(crate) type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// What a volume is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A folder that the pod fills.
    Scratch,
    /// Files that the agent keeps up to date.
    Files(Files),
    /// A folder of this machine.
    Host(PathBuf),
}

/// The content of `volume`, or what must exist first.
pub(crate) fn content(pod: &Pod, volume: &Volume, place: &Place, cluster: &Cluster) -> Result<Content, String> {
    let reader = Reader { pod, place, cluster };
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        return reader
            .secret(
                name,
                source.optional,
                source.items.as_deref(),
                mode(source.default_mode),
            )
            .map(Content::Files);
    }
    if let Some(source) = &volume.config_map {
        let files = reader.config_map(
            &source.name,
            source.optional,
            source.items.as_deref(),
            mode(source.default_mode),
        );
        return files.map(Content::Files);
    }
    if let Some(source) = &volume.projected {
        let mut all = Files::new();
        for one in source.sources.iter().flatten() {
            all.extend(reader.projection(one, mode(source.default_mode))?);
        }
        return Ok(Content::Files(all));
    }
    if let Some(source) = &volume.downward_api {
        let fields = source
            .items
            .iter()
            .flatten()
            .filter_map(|item| Some((item.path.clone(), item.field_ref.as_ref()?)));
        let mode = mode(source.default_mode);
        let file = |path: &str| (field_value(pod, place, path).into_bytes(), mode);
        return Ok(Content::Files(
            fields.map(|(name, field)| (name, file(&field.field_path))).collect(),
        ));
    }
    Ok(volume
        .host_path
        .as_ref()
        .map_or(Content::Scratch, |host| Content::Host(host.path.clone().into())))
}

struct Reader<'a> {
    pod: &'a Pod,
    place: &'a Place,
    cluster: &'a Cluster,
}

impl Reader<'_> {
    fn secret(
        &self,
        name: &str,
        optional: Option<bool>,
        items: Option<&[KeyToPath]>,
        mode: u32,
    ) -> Result<Files, String> {
        let data = match find(&self.cluster.secrets, self.pod, name) {
            Some(secret) => secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key, value.0))
                .collect(),
            None if optional == Some(true) => BTreeMap::new(),
            None => return Err(format!("secret {name:?} not found")),
        };
        pick(data, items, mode, optional == Some(true))
    }

    fn config_map(
        &self,
        name: &str,
        optional: Option<bool>,
        items: Option<&[KeyToPath]>,
        mode: u32,
    ) -> Result<Files, String> {
        let data = match find(&self.cluster.config_maps, self.pod, name) {
            Some(map) => {
                let text = map
                    .data
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(key, value)| (key, value.into_bytes()));
                let binary = map
                    .binary_data
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(key, value)| (key, value.0));
                text.chain(binary).collect()
            }
            None if optional == Some(true) => BTreeMap::new(),
            None => return Err(format!("configmap {name:?} not found")),
        };
        pick(data, items, mode, optional == Some(true))
    }

    fn projection(&self, one: &VolumeProjection, mode: u32) -> Result<Files, String> {
        if let Some(source) = &one.secret {
            return self.secret(&source.name, source.optional, source.items.as_deref(), mode);
        }
        if let Some(source) = &one.config_map {
            return self.config_map(&source.name, source.optional, source.items.as_deref(), mode);
        }
        let items = one.downward_api.iter().flat_map(|source| source.items.iter().flatten());
        let fields = items.filter_map(|item| Some((item.path.clone(), &item.field_ref.as_ref()?.field_path)));
        Ok(fields
            .map(|(name, path)| (name, (field_value(self.pod, self.place, path).into_bytes(), mode)))
            .collect())
    }
}

fn pick(
    mut data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: u32,
    optional: bool,
) -> Result<Files, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, bytes)| (key, (bytes, mode))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(bytes) => {
                let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(mode);
                files.insert(item.path.clone(), (bytes, mode));
            }
            None if optional => {}
            None => return Err(format!("references non-existent key {:?}", item.key)),
        }
    }
    Ok(files)
}

fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(DEFAULT_MODE)
}

/// Makes `dir` hold exactly `files`, at once; they belong to root, and may be read by `group` (a pod's `fsGroup`).
pub(crate) fn write(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let generation = (0..)
        .map(|n| format!("..{n}"))
        .find(|name| !dir.join(name).exists())
        .unwrap_or_default();
    let fresh = dir.join(&generation);
    for (name, (bytes, mode)) in files {
        let path = fresh.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&fresh))?;
        fs::write(&path, bytes)?;
        chown(&path, None, group)?;
        let readable = if group.is_some() { 0o440 } else { 0 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode | readable))?;
    }
    fs::create_dir_all(&fresh)?;
    swap(dir, &generation)?;
    link_names(dir, files)
}

fn swap(dir: &Path, generation: &str) -> io::Result<()> {
    let current = dir.join("..data");
    let old = fs::read_link(&current).ok();
    let next = dir.join("..data_tmp");
    symlink(generation, &next)?;
    fs::rename(&next, &current)?;
    old.map_or(Ok(()), |old| fs::remove_dir_all(dir.join(old)))
}

fn link_names(dir: &Path, files: &Files) -> io::Result<()> {
    let tops: std::collections::BTreeSet<&str> = files.keys().filter_map(|name| name.split('/').next()).collect();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // What is no link is a mount point of another volume.
        if entry.file_type()?.is_symlink() && !name.starts_with("..") && !tops.contains(&*name) {
            fs::remove_file(entry.path())?;
        }
    }
    for top in tops {
        let link = dir.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(top), link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (text.as_bytes().to_vec(), 0o644)))
            .collect()
    }

    #[test]
    fn a_rewrite_leaves_exactly_the_new_files() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &files(&[("a", "1"), ("b", "2")]), None).unwrap();
        write(dir.path(), &files(&[("b", "3"), ("c/d", "4")]), None).unwrap();
        assert!(!dir.path().join("a").exists());
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "3");
        assert_eq!(fs::read_to_string(dir.path().join("c/d")).unwrap(), "4");
    }

    #[test]
    fn listed_items_are_renamed_and_a_missing_one_is_an_error() {
        let item = |key: &str| KeyToPath {
            key: key.into(),
            path: "p".into(),
            mode: None,
        };
        let data = BTreeMap::from([("k".to_owned(), b"v".to_vec())]);
        assert_eq!(
            pick(data.clone(), Some(&[item("k")]), 0o400, false).unwrap()["p"],
            (b"v".to_vec(), 0o400)
        );
        assert!(
            pick(data, Some(&[item("x")]), 0o400, false)
                .unwrap_err()
                .contains("\"x\"")
        );
    }
}
