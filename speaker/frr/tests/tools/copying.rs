use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use tempfile::tempdir;

fn cp_tool(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cp-tool")).args(args).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn the_copy_is_as_executable_as_the_file() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("from"), "x").unwrap();
    fs::write(path("to"), "something longer").unwrap();
    fs::set_permissions(path("from"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(cp_tool(&[&path("from"), &path("to")]), "");
    assert_eq!(fs::read_to_string(path("to")).unwrap(), "x");
    assert_eq!(fs::metadata(path("to")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

pub(crate) fn whatever_goes_wrong_is_said_and_the_code_is_zero() {
    assert!(cp_tool(&[]).contains("two arguments") && cp_tool(&["a", "b", "c"]).contains("two arguments"));
    assert!(cp_tool(&["/nowhere/a", "/nowhere/b"]).contains("/nowhere/a"));
}
