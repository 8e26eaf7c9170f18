//! The reloader's answers.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use metallb_frr::Verdict;

/// The content of a file, and when it was written.
type Dated = (String, SystemTime);

/// The files with answers. `.status-of`, which only our reloader writes, names the text; `.status` only has the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// `.status-of`: a [`Verdict`].
    exact: Option<Dated>,
    /// `.status`: second and outcome.
    plain: Option<Dated>,
    /// `last-error`: why the configuration is not applied, in FRR's words; only ours writes it.
    words: Option<Dated>,
}

/// The outcome for a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Applied,
    /// In FRR's words.
    Refused(String),
}

impl Answer {
    pub(super) fn read(folder: &Path) -> Self {
        let dated = |name: &str| {
            let path = folder.join(name);
            let written = fs::metadata(&path).and_then(|file| file.modified());
            fs::read_to_string(&path).ok().zip(written.ok())
        };
        // In the reverse order of writing, so that a new `.status` is never seen with an old `.status-of`.
        let (plain, exact) = (dated(".status"), dated(".status-of"));
        let words = dated("last-error");
        Self { exact, plain, words }
    }

    fn words(&self) -> &str {
        self.words.as_ref().map_or("", |(words, _)| words.trim())
    }

    /// Why the configuration is not applied, if the reloader has said so since `before`.
    pub(super) fn news(&self, before: &Self) -> Option<&str> {
        Some(self.words()).filter(|words| self.words != before.words && !words.is_empty())
    }

    /// Tells whether `text` was applied.
    pub(super) fn is_success_of(&self, text: &str) -> bool {
        let verdict = self.exact.as_ref().and_then(|(verdict, _)| verdict.parse().ok());
        verdict.and_then(|verdict: Verdict| verdict.about(text)) == Some(metallb_frr::Outcome::Success)
    }

    /// The outcome for `text`, for which the reloader was signalled after `before` was read; `None` if there is none yet.
    pub(super) fn outcome(&self, text: &str, before: &Self) -> Option<Outcome> {
        let outcome = match &self.exact {
            Some((verdict, _)) if self.exact != before.exact => verdict.parse::<Verdict>().ok()?.about(text)?,
            // Left from an earlier attempt, perhaps with the same text.
            Some(_) => return None,
            None => {
                let (plain, _) = self.plain.as_ref().filter(|_| self.plain != before.plain)?;
                plain.trim().split_once(' ')?.1.parse().ok()?
            }
        };
        Some(match outcome {
            metallb_frr::Outcome::Success => Outcome::Applied,
            metallb_frr::Outcome::Failure => Outcome::Refused(self.words().to_owned()),
        })
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

    #[test]
    fn an_earlier_answer_about_the_same_text_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let failure = format!("{:016x} failure", metallb_frr::digest("text"));
        write(folder.path(), ".status-of", &failure);
        let before = Answer::read(folder.path());
        assert_eq!(before.outcome("text", &before), None);
        let second = SystemTime::now() + std::time::Duration::from_secs(1);
        write(folder.path(), ".status-of", &failure);
        let file = fs::File::open(folder.path().join(".status-of")).unwrap();
        file.set_modified(second).unwrap();
        let again = Answer::read(folder.path());
        assert_eq!(again.outcome("text", &before), Some(Outcome::Refused(String::new())));
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
