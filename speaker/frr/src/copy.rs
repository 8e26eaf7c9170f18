//! `cp-tool FROM TO`: copies one file with its mode, on images without a shell.

use std::{ffi::OsString, fs, io, path::Path, process::ExitCode};

use metallb_runtime::files;

/// Copies a file as the command line says. As upstream, prints errors and always exits with 0.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [from, to] = args.as_slice() else {
        println!("cp-tool needs two arguments: the file to copy, and where to");
        return ExitCode::SUCCESS;
    };
    if let Err(error) = copy(Path::new(from), Path::new(to)) {
        println!("cp-tool cannot copy {} to {}: {error}", from.display(), to.display());
    }
    ExitCode::SUCCESS
}

/// Copies to a new file and renames it: a program that is running cannot be overwritten, only replaced.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    files::replace_by(to, |new| fs::copy(from, new).map(drop))
}
