//! Writes what is made from the command line into a copy of the repository: `cargo run -p metallb-cli --example reference --
//! FOLDER`.

#[path = "../tests/reference/mod.rs"]
mod files;

use std::path::Path;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let root = std::env::args_os().nth(1).context("into which folder?")?;
    for (name, text) in files::all() {
        let path = Path::new(&root).join(name);
        std::fs::create_dir_all(path.parent().context("no folder")?)?;
        std::fs::write(path, text)?;
    }
    Ok(())
}
