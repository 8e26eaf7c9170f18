//! Which tests the command line asks for, by the flags of the usual harness.

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    names: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    /// `--ignored` asks for the expensive ones of the usual harness; there are none here.
    none: bool,
    /// Whether to name the tests instead of running them.
    pub list: bool,
}

impl Selection {
    pub(super) fn parse(args: impl IntoIterator<Item = String>) -> Self {
        let mut selection = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--exact" => selection.exact = true,
                "--ignored" => selection.none = true,
                "--list" => selection.list = true,
                "--skip" => selection.skipped.extend(args.next()),
                "--test-threads" | "--format" | "--color" | "-Z" => drop(args.next()),
                flag if flag.starts_with('-') => {}
                _ => selection.names.push(arg),
            }
        }
        selection
    }

    /// Whether the test of that name is to run.
    pub(super) fn has(&self, name: &str) -> bool {
        let matches = |word: &String| {
            if self.exact {
                name == word
            } else {
                name.contains(word.as_str())
            }
        };
        !self.none && (self.names.is_empty() || self.names.iter().any(matches)) && !self.skipped.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Vec<&'static str> {
        let selection = Selection::parse(args.iter().map(ToString::to_string));
        ["one [embedded]", "only [kubernetes 1.36]", "two [kubernetes 1.36]"]
            .into_iter()
            .filter(|name| selection.has(name))
            .collect()
    }

    #[test]
    fn names_filter_as_in_the_usual_harness() {
        let (one, only, two) = ("one [embedded]", "only [kubernetes 1.36]", "two [kubernetes 1.36]");
        assert_eq!(names(&[]), [one, only, two]);
        assert_eq!(names(&["on", "--nocapture"]), [one, only]);
        assert_eq!(names(&["on", "--skip", "only", "--test-threads", "1"]), [one]);
        assert_eq!(names(&["--exact", one]), [one]);
        assert_eq!(names(&["kubernetes 1.36"]), [only, two]);
        assert!(names(&["--ignored"]).is_empty());
    }
}
