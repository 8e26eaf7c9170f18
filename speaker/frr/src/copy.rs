//! `cp-tool FROM TO`: copies one file with its mode, on images without a shell.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Copies what the command line says. As upstream's: whatever goes wrong is printed, and the code is 0.
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

/// Copies by way of another file: a program that runs cannot be written to, but it can be replaced.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut name = to.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    fs::copy(from, &new)?;
    fs::rename(new, to)
}
