//! Prints the manifests that people apply: `operator` for all of them, `webhooks` for the webhook configurations alone.

use anyhow::bail;
use metallb_api::names;
use metallb_manifests::install::{self, Install};

fn main() -> anyhow::Result<()> {
    let install = Install::release(names::DEFAULT_NAMESPACE);
    let objects = match std::env::args().nth(1).as_deref() {
        Some("operator") => install::objects(&install),
        Some("webhooks") => install::webhook_configurations(&install),
        _ => bail!("which manifests: operator or webhooks?"),
    };
    print!("{}", metallb_crdgen::documents(&objects)?);
    Ok(())
}
