//! Prints the CustomResourceDefinitions, or with `reference` the fields of the MetalLB resource.

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("reference") => print!("{}", metallb_crdgen::reference()),
        _ => print!("{}", metallb_crdgen::yaml()?),
    }
    Ok(())
}
