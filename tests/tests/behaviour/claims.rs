//! Installers promise only what works: `docs/features.md` is the list.

use std::fs;
use std::path::{Path, PathBuf};

/// What a person reads before and while installing.
const SHOWN: [&str; 8] = [
    "README.md",
    "Dockerfile",
    "charts/metallb/Chart.yaml",
    "charts/metallb/templates/NOTES.txt",
    "charts/metallb-operator/Chart.yaml",
    "charts/metallb-operator/templates/NOTES.txt",
    "bundle/manifests/metallb-operator.clusterserviceversion.yaml",
    "operator/bundle/text/description.md",
];
/// A line that says that something is missing may name it.
const DENIALS: [&str; 6] = ["not yet", "refuse", "warning", "without", "deprecated", "nothing is"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", PathBuf::from(&path).display()))
}

/// The words of every feature in that state.
fn words(works: bool) -> Vec<String> {
    let table = read("docs/features.md");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let chosen = cells.filter(|cells| (cells[2] == "works") == works);
    chosen
        .flat_map(|cells| cells[3].split(", ").map(str::to_lowercase).collect::<Vec<_>>())
        .collect()
}

/// The promises of a text: its lines but for those that deny something, and for examples and fields of our resources.
fn promises(path: &str) -> Vec<String> {
    let text = read(path);
    // Whatever lies below these keys of a ClusterServiceVersion describes fields, not what works.
    let until = text.find("\n  customresourcedefinitions:").unwrap_or(text.len());
    let lines = text[..until].lines().map(str::to_lowercase);
    let fields = |line: &String| line.contains("alm-examples") || line.trim_start().starts_with("\"");
    // What a Dockerfile says to those who build by it.
    let comment = |line: &String| path == "Dockerfile" && line.starts_with('#');
    lines
        .filter(|line| !DENIALS.iter().any(|denial| line.contains(denial)) && !fields(line) && !comment(line))
        .collect()
}

fn says(line: &str, word: &str) -> bool {
    let found = line.match_indices(word);
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    found
        .into_iter()
        .any(|(at, _)| !letter(line[..at].chars().next_back()) && !letter(line[at + word.len()..].chars().next()))
}

#[test]
fn nothing_is_promised_that_does_not_work() {
    let missing = words(false);
    assert!(
        missing.iter().any(|word| word == "arm64") && missing.len() > 2,
        "{missing:?}"
    );
    let mut broken = Vec::new();
    for path in SHOWN {
        for line in promises(path) {
            let named = missing.iter().filter(|word| says(&line, word));
            broken.extend(named.map(|word| format!("{path} promises {word}: {line}")));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn what_works_is_told() {
    let readme = read("README.md").to_lowercase();
    for word in ["arp", "bgp"] {
        assert!(words(true).iter().any(|known| known == word), "{word}");
        assert!(says(&readme, word), "the README does not tell of {word}");
    }
}

#[test]
fn words_are_found_whole_and_denials_are_no_promises() {
    assert!(says("by arp, ndp and bgp", "ndp") && !says("sendpack", "ndp"));
    assert!(
        promises("charts/metallb/templates/NOTES.txt")
            .iter()
            .all(|line| !line.contains("warning"))
    );
}
