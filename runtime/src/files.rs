//! Files that other processes read while they are written.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Replaces a file by one with this content and mode 0600: no reader sees half of it, no other user any of it.
///
/// # Errors
/// When `<path>.new` cannot be written or renamed.
pub fn replace(path: &Path, content: &str) -> io::Result<()> {
    replace_by(path, |new| {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(new)?;
        file.write_all(content.as_bytes())
    })
}

/// Replaces a file by the one that `make` makes at the path that it is given, `<path>.new`.
///
/// # Errors
/// Those of `make`, or when that file cannot be renamed.
pub fn replace_by(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut name = OsString::from(path);
    name.push(".new");
    let new = PathBuf::from(name);
    make(&new)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_new_file_is_private_and_nothing_is_left_beside_it() {
        let folder = std::env::temp_dir().join(format!("metallb-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("frr.conf");
        fs::write(&path, "something longer").unwrap();
        let mut before = fs::File::open(&path).unwrap();
        replace(&path, "short").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            io::read_to_string(&mut before).unwrap(),
            "something longer",
            "who reads it goes on reading it"
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
