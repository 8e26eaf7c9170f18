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

use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if let Some(program) = metallb_image::program(&called) {
        return program();
    }
    eprintln!(
        "{} is no program: call /manager, /controller, /speaker, /kubectl-metallb, /frr-reloader.sh, /frr-metrics or /cp-tool",
        called.display()
    );
    ExitCode::from(2)
}
