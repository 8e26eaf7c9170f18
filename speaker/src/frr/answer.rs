//! What the reloader says.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// The files with answers. Ours names the text that an answer is about; upstream's has nothing but the second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// `.status-of`: digest and outcome.
    exact: Option<String>,
    /// `.status`: second and outcome, and when it was written.
    plain: Option<(String, SystemTime)>,
    /// `last-error`.
    words: String,
}

/// What became of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Applied,
    /// In FRR's words.
    Refused(String),
}

impl Answer {
    pub(super) fn read(folder: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let written = fs::metadata(folder.join(".status")).and_then(|file| file.modified());
        Self {
            exact: text(".status-of"),
            plain: text(".status").zip(written.ok()),
            words: text("last-error").unwrap_or_default(),
        }
    }

    /// Tells whether this is about `text`, which is in force.
    pub(super) fn is_success_of(&self, text: &str) -> bool {
        self.exact
            .as_ref()
            .is_some_and(|it| *it == format!("{:016x} success", metallb_frr::digest(text)))
    }

    /// What became of `text`, for which the reloader was signalled after `before` was read; `None` as long as it is
    /// silent.
    pub(super) fn outcome(&self, text: &str, before: &Self) -> Option<Outcome> {
        let outcome = match &self.exact {
            Some(exact) => exact.strip_prefix(&format!("{:016x} ", metallb_frr::digest(text)))?,
            None => {
                let (plain, _) = self.plain.as_ref().filter(|_| self.plain != before.plain)?;
                plain.split_once(' ')?.1
            }
        };
        match outcome.trim() {
            "success" => Some(Outcome::Applied),
            "failure" => Some(Outcome::Refused(self.words.trim().to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn ours_is_about_one_text_alone() {
        let folder = tempfile::tempdir().unwrap();
        let before = Answer::read(folder.path());
        let digest = metallb_frr::digest("text");
        write(folder.path(), ".status-of", &format!("{digest:016x} failure"));
        write(folder.path(), "last-error", "line 3: % Unknown command\n");
        let answer = Answer::read(folder.path());
        let words = "line 3: % Unknown command".to_owned();
        assert_eq!(answer.outcome("text", &before), Some(Outcome::Refused(words)));
        assert_eq!(answer.outcome("other", &before), None);
        assert!(!answer.is_success_of("text"));
        write(folder.path(), ".status-of", &format!("{digest:016x} success"));
        let answer = Answer::read(folder.path());
        assert_eq!(answer.outcome("text", &before), Some(Outcome::Applied));
        assert!(answer.is_success_of("text") && !answer.is_success_of("other"));
    }

    // FRR-33
    #[test]
    fn upstreams_is_about_what_was_signalled_last() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), ".status", "1700000000 success");
        let before = Answer::read(folder.path());
        assert_eq!(before.outcome("text", &before), None);
        write(folder.path(), ".status", "1700000001 failure");
        let answer = Answer::read(folder.path());
        assert_eq!(answer.outcome("text", &before), Some(Outcome::Refused(String::new())));
    }
}
