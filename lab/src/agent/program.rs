//! Which program a container of the lab runs: there are no images, only what is linked into the lab.

use std::path::{Path, PathBuf};

use anyhow::Result;
use k8s_openapi::api::core::v1::Container;

use crate::entry::BACKEND;
use crate::products;
use crate::sandbox::Bind;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The folder of `metallb-operator`, `metallb-controller` and `metallb-speaker`.
    pub dir: PathBuf,
    /// The lab's own executable, which is also the backend.
    pub lab: PathBuf,
}

/// What to execute, without arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The command and its fixed arguments.
    pub command: Vec<String>,
    /// What must be in the root for it.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// The image's user and group; root when `None`.
    pub user: Option<(u32, u32)>,
}

/// Describes the one image.
const DOCKERFILE: &str = include_str!("../../../Dockerfile");

/// Links of the image, as upstream has them, and the binaries behind.
const LINKS: [(&str, &str); 3] = [
    ("/manager", "metallb-operator"),
    ("/controller", "metallb-controller"),
    ("/speaker", "metallb-speaker"),
];

impl Programs {
    /// What is linked into the lab of that work directory, or a folder of other builds.
    ///
    /// # Errors
    /// When that folder does not hold all of them.
    pub fn of(work: &Path, foreign: Option<&Path>) -> Result<Self> {
        Ok(Self {
            dir: match foreign {
                Some(dir) => products::complete(dir)?,
                None => products::folder(work),
            },
            lab: products::lab(work),
        })
    }

    /// Finds the program of `container`; an error is the message of `ErrImagePull`.
    pub(crate) fn find(&self, container: &Container) -> std::result::Result<Program, String> {
        let image = container.image.as_deref().unwrap_or_default();
        let command = container.command.clone().unwrap_or_default();
        if basename(image) == "backend" {
            let own = [String::from("/backend"), String::from(BACKEND)];
            return Ok(Program {
                command: own.into(),
                binds: vec![(self.lab.clone(), "/backend".into())],
                user: image_user(),
            });
        }
        match command.first() {
            Some(first) if LINKS.iter().any(|(link, _)| link == first) => Ok(self.product(command)),
            // Any program of this machine.
            Some(_) => Ok(Program {
                command,
                binds: Vec::new(),
                user: None,
            }),
            None => match entrypoint(basename(image)) {
                Some(link) => Ok(self.product(vec![link.into()])),
                None => Err(format!(
                    "the lab has no image {image:?}: it runs MetalLB's, lab.local/backend, and any with a command"
                )),
            },
        }
    }

    /// All three links are in the one image.
    fn product(&self, command: Vec<String>) -> Program {
        let binds = LINKS
            .iter()
            .map(|(link, binary)| (self.dir.join(binary), PathBuf::from(link)));
        Program {
            command,
            binds: binds.filter(|(binary, _)| binary.is_file()).collect(),
            user: image_user(),
        }
    }
}

impl Program {
    /// The binds as mounts.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = Bind> {
        self.binds.iter().map(|(from, to)| Bind {
            from: from.clone(),
            to: to.clone(),
            read_only: true,
        })
    }
}

/// What `USER` says in the image's last stage.
fn image_user() -> Option<(u32, u32)> {
    let last = DOCKERFILE.lines().rev().find_map(|line| line.strip_prefix("USER "))?;
    let (uid, gid) = last.trim().split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

fn entrypoint(name: &str) -> Option<&'static str> {
    match name {
        "operator" | "metallb-operator" | "manager" => Some("/manager"),
        "controller" | "metallb-controller" => Some("/controller"),
        "speaker" | "metallb-speaker" => Some("/speaker"),
        _ => None,
    }
}

/// `registry:5000/a/b:tag@sha256:…` → `b`.
fn basename(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or_default();
    let last = Path::new(image)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Programs {
        Programs {
            dir: "/none".into(),
            lab: "/lab".into(),
        }
    }

    fn container(image: &str, command: &[&str]) -> Container {
        let command = command.iter().map(ToString::to_string).collect();
        Container {
            image: Some(image.into()),
            command: Some(command),
            ..Container::default()
        }
    }

    #[test]
    fn the_command_of_upstreams_image_is_ours() {
        let found = programs()
            .find(&container("quay.io/metallb/speaker:v1", &["/speaker"]))
            .unwrap();
        assert_eq!(found.command, ["/speaker"]);
    }

    #[test]
    fn an_image_without_command_is_known_by_its_name() {
        let found = programs()
            .find(&container("host:5000/a/controller:v1@sha256:00", &[]))
            .unwrap();
        assert_eq!(found.command, ["/controller"]);
    }

    #[test]
    fn the_product_runs_as_the_user_of_its_image() {
        assert_eq!(image_user(), Some((65534, 65534)));
        let found = programs().find(&container("speaker", &["/speaker"])).unwrap();
        assert_eq!(found.user, image_user());
    }

    #[test]
    fn an_unknown_image_is_refused_by_name() {
        let refused = programs().find(&container("nginx", &[])).unwrap_err();
        assert!(refused.contains("\"nginx\""), "{refused}");
    }
}
