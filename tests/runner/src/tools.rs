//! Programs written in Go that tests face or ask: built once from their published modules, then kept.
//!
//! `tests/judges/tools/<name>/go.mod` names the version, by a `tool` and a `require` line. Another tool is another folder and
//! another [`Tool`] constant.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A tool, and how it is built.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its name, which is its folder under `tests/judges/tools` too.
    pub name: &'static str,
    /// The packages of its `main`s, separated by spaces. Each becomes a program beside the others.
    pub package: &'static str,
    /// The module that the package is in, by which its version is found.
    pub module: &'static str,
    /// Build tags, separated by commas.
    pub tags: &'static str,
    /// Variables set at link time: what a release build sets.
    pub variables: &'static [(&'static str, &'static str)],
}

/// GoBGP, a router: the program of its command line, which the daemon `gobgpd` is beside.
pub const GOBGP: Tool = Tool {
    name: "gobgp",
    package: "github.com/osrg/gobgp/v4/cmd/gobgp github.com/osrg/gobgp/v4/cmd/gobgpd",
    module: "github.com/osrg/gobgp/v4",
    tags: "",
    variables: &[],
};

/// frr-k8s, to which the speaker hands its sessions; its webhook is in `statuscleaner` beside it.
pub const FRR_K8S: Tool = Tool {
    name: "frr-k8s-controller",
    package: "github.com/metallb/frr-k8s/cmd/frr-k8s-controller github.com/metallb/frr-k8s/cmd/statuscleaner",
    module: "github.com/metallb/frr-k8s",
    tags: "",
    variables: &[],
};

impl Tool {
    /// The built program; the test that calls this is skipped on a machine without Go.
    ///
    /// # Panics
    /// When it cannot be built.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        match self.obstacle() {
            None => self.prepare().expect("Go builds it"),
            Some(why) => crate::skip(why),
        }
    }

    /// Says why the tool can neither be found nor built here.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        let there = self.kept().is_ok_and(|kept| kept.is_some());
        (!there && !has_go()).then(|| format!("no Go to build {} with", self.name))
    }

    /// The program, which is built if need be: once, minutes, from the network.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn prepare(&self) -> Result<PathBuf> {
        if let Some(program) = self.kept()? {
            return Ok(program);
        }
        let dir = self.dir()?;
        fs::create_dir_all(&dir).with_context(|| format!("cannot use {}", dir.display()))?;
        // Of two builds at the same time, the second waits and finds the work done.
        let lock = File::create(dir.join(".lock")).context("cannot make a lock file")?;
        lock.lock().context("cannot take the build lock")?;
        if let Some(program) = self.kept()? {
            return Ok(program);
        }
        eprintln!(
            "building {} {} into {}: once, minutes",
            self.name,
            self.version()?,
            dir.display()
        );
        self.build(&dir)?;
        // Written last: without it a build is not complete.
        fs::write(dir.join("recipe"), self.recipe()?)?;
        self.kept()?.context("the build left no program")
    }

    fn kept(&self) -> Result<Option<PathBuf>> {
        let dir = self.dir()?;
        match fs::read_to_string(dir.join("recipe")) {
            Ok(recipe) if recipe == self.recipe()? => Ok(Some(dir.join(self.name)).filter(|path| path.is_file())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("cannot read what a tool was built from"),
        }
    }

    /// All that decides on the program.
    fn recipe(&self) -> Result<String> {
        let sum = fs::read_to_string(self.source().join("go.sum")).context("a tool without go.sum")?;
        Ok(format!("{self:?}\n{}{sum}", self.go_mod()?))
    }

    fn go_mod(&self) -> Result<String> {
        fs::read_to_string(self.source().join("go.mod")).with_context(|| format!("{} has no go.mod", self.name))
    }

    /// The version that `go.mod` asks for: `v3.22.0`.
    ///
    /// # Errors
    /// When it names none.
    pub fn version(&self) -> Result<String> {
        let text = self.go_mod()?;
        let wanted = format!("{} v", self.module);
        let line = text.lines().find_map(|line| line.split_once(&wanted));
        let (_, rest) = line.with_context(|| format!("{}/go.mod requires no {}", self.name, self.module))?;
        Ok(format!("v{}", rest.split(' ').next().unwrap_or_default()))
    }

    /// Where the files of its module are: those that it is built from, and what else was published with them.
    ///
    /// # Errors
    /// When there is no Go, or the module cannot be had.
    pub fn files(&self) -> Result<PathBuf> {
        let mut command = Command::new("go");
        command.current_dir(self.source()).env("GOWORK", "off");
        command.args(["mod", "download", "-json", self.module]);
        let output = command.output().context("cannot start go")?;
        let answer = String::from_utf8_lossy(&output.stdout);
        let line = answer.lines().find_map(|line| line.trim().strip_prefix("\"Dir\": \""));
        let dir = line.and_then(|line| line.strip_suffix("\","));
        Ok(dir
            .with_context(|| format!("go has no files of {}: {answer}", self.module))?
            .into())
    }

    fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../judges/tools")
            .join(self.name)
    }

    fn dir(&self) -> Result<PathBuf> {
        let base = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
            Some(dir) if dir.is_absolute() => dir,
            _ => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
                .join(".cache"),
        };
        let version = self.version()?;
        Ok(base.join("metallb-rs/tools").join(format!("{}-{version}", self.name)))
    }

    fn build(&self, dir: &Path) -> Result<()> {
        let variables = self.variables.iter().map(|(name, value)| format!(" -X {name}={value}"));
        let mut command = Command::new("go");
        command
            .current_dir(self.source())
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=readonly")
            .args(["build", "-trimpath", "-tags", self.tags, "-ldflags"])
            .arg(format!("-s -w{}", variables.collect::<String>()))
            .arg("-o")
            .arg(dir)
            .args(self.package.split(' '));
        let status = command.status().context("cannot start go")?;
        ensure!(
            status.success(),
            "go could not build {}; its messages are above",
            self.name
        );
        Ok(())
    }
}

fn has_go() -> bool {
    let asked = Command::new("go").arg("version").output();
    asked.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_names_the_version() {
        assert!(GOBGP.version().unwrap().starts_with("v4."));
        assert!(GOBGP.recipe().unwrap().contains("github.com/osrg/gobgp/v4"));
    }
}
