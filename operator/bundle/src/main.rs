//! Writes bundle and catalog below the folder that the command line names.

use std::{fs, path::PathBuf};

use anyhow::Context;
use metallb_bundle::Release;

fn main() -> anyhow::Result<()> {
    let root = std::env::args().nth(1).context("where to? name a folder")?;
    for (name, text) in Release::current().files()? {
        let path = PathBuf::from(&root).join(name);
        let folder = path.parent().context("every file is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
