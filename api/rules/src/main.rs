//! Prints `docs/validation.md`.

fn main() {
    print!("{}", metallb_rules::document());
}
