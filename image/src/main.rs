//! All programs of the image in one file, which is whichever it is called by, as busybox is: most of each is the same
//! client of Kubernetes, so the image is a third, and a node that runs several of them has its code in memory once.
//!
//! The allocator is glibc's, which needs no dependency. A controller that gave 2000 Services their addresses, on two cores:
//!
//! | Allocator | Resident | CPU |
//! |---|---|---|
//! | glibc 2.36 | 26 MB | 1.7 to 2.1 s |
//! | the same with one arena, or two (`arena_max`) | 25 to 26 MB | 2.0 to 2.1 s |
//! | the same with one arena, and thresholds to trim and map of 128 kB | 27 MB | 1.9 s |
//! | mimalloc 3 | 44 MB | 1.6 to 1.7 s |

use std::{path::Path, process::ExitCode};

/// A program of the image.
type Program = fn() -> ExitCode;

/// The program that a name is of: the links in the image, which are upstream's, and the names of our own binaries.
fn program(name: &str) -> Option<Program> {
    match name {
        "manager" | "metallb-operator" => Some(metallb_operator::main),
        "controller" | "metallb-controller" => Some(metallb_controller::main),
        "speaker" | "metallb-speaker" => Some(metallb_speaker::main),
        _ => None,
    }
}

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_string_lossy();
    if let Some(program) = program(&name) {
        return program();
    }
    eprintln!("{name} is no program: call /manager, /controller or /speaker");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_the_image_are_programs_and_nothing_else_is() {
        for name in ["manager", "controller", "speaker", "metallb-speaker"] {
            assert!(program(name).is_some(), "{name}");
        }
        assert!(program("metallb").is_none() && program("").is_none());
    }
}
