//! Prints `docs/validation.md`.

fn main() {
    print!("{}", metallb_config::rules::document());
}
