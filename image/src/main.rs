//! All programs of the image in one file, which is whichever it is called by, as busybox is: most of each is the same
//! client of Kubernetes, so the image is a third, and a node that runs several of them has its code in memory once.

use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if let Some(program) = metallb_image::program(&called) {
        return program();
    }
    eprintln!(
        "{} is no program: call /manager, /controller or /speaker",
        called.display()
    );
    ExitCode::from(2)
}
