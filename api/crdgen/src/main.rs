//! Prints the CustomResourceDefinitions.

fn main() -> anyhow::Result<()> {
    print!("{}", metallb_crdgen::yaml()?);
    Ok(())
}
