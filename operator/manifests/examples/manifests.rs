//! Prints the files that people apply: `cargo run -p metallb-manifests --example manifests -- NAME`, or all of their
//! names without one; `--chart-alerts` prints the alerts of the chart.

#[path = "../tests/files/mod.rs"]
mod files;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let files = files::all()?;
    match std::env::args().nth(1) {
        None => files.iter().for_each(|(name, _)| println!("{name}")),
        Some(wanted) if wanted == "--chart-alerts" => print!("{}", files::chart_alerts()?),
        Some(wanted) => {
            let (_, text) = files
                .iter()
                .find(|(name, _)| *name == wanted)
                .with_context(|| format!("no file {wanted}"))?;
            print!("{text}");
        }
    }
    Ok(())
}
