//! What people read about the command line is what the program says.

#[path = "reference/mod.rs"]
mod files;

use std::path::Path;

// CLI-51
#[test]
fn man_pages_and_the_page_of_commands_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let made = files::all();
    for (name, text) in &made {
        let checked_in = std::fs::read_to_string(root.join(name)).unwrap_or_default();
        assert!(checked_in == *text, "{name} is out of date: run .ci/generate");
    }
    let pages = std::fs::read_dir(root.join("cli/man")).expect("there are man pages");
    assert_eq!(pages.count(), made.len() - 1, "a man page is of a command that is gone");
}
