//! Desires against recorded files. `METALLB_WRITE_GOLDEN=1` records them anew.

use std::{fs, path::PathBuf};

use crate::cases;

pub(crate) fn path(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    PathBuf::from(folder).join(format!("{name}.conf"))
}

// FRR-1 to FRR-6, FRR-8 to FRR-20, FRR-22, FRR-23
pub(crate) fn every_desire_gives_the_recorded_file() {
    for (name, desired) in cases::all() {
        let text = desired.render();
        if std::env::var_os("METALLB_WRITE_GOLDEN").is_some() {
            fs::write(path(name), text.as_str()).unwrap();
        }
        let recorded = fs::read_to_string(path(name)).unwrap_or_default();
        assert_eq!(text.as_str(), recorded, "{name}");
    }
    let recorded = fs::read_dir(path("").parent().unwrap()).unwrap().count();
    assert_eq!(recorded, cases::all().len(), "a file without a desire");
}
