//! How often speakers repeat unasked what they announce in layer 2.

use super::MetalLBSpec;

/// The longest interval that the speaker's flag takes, in seconds.
const LONGEST: u64 = 2_147_483_647;

impl MetalLBSpec {
    /// Tells the seconds between unasked repetitions of addresses announced in layer 2; none if there are to be none.
    ///
    /// The flag of the speaker takes whole seconds: half a second must not become 0, which is never.
    ///
    /// # Errors
    /// Says why the text is no duration that the flag takes.
    pub fn gratuitous_arp_seconds(&self) -> Result<Option<u64>, String> {
        let interval = self.speaker_gratuitous_arp_interval.as_ref();
        let seconds = interval.map(|interval| interval.whole_seconds(LONGEST)).transpose()?;
        Ok(seconds.filter(|seconds| *seconds > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GoDuration;

    fn seconds(text: &str) -> Result<Option<u64>, String> {
        let spec = MetalLBSpec {
            speaker_gratuitous_arp_interval: Some(GoDuration::new(text)),
            ..MetalLBSpec::default()
        };
        spec.gratuitous_arp_seconds()
    }

    // OP-103
    #[test]
    fn an_interval_is_whole_seconds_of_what_the_flag_takes() {
        assert_eq!(MetalLBSpec::default().gratuitous_arp_seconds(), Ok(None));
        for (text, wanted) in [
            ("90s", Some(90)),
            ("1m30s", Some(90)),
            ("1500ms500ms", Some(2)),
            ("0s", None),
            ("0", None),
            ("2147483647s", Some(2_147_483_647)),
        ] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        for (text, why) in [
            ("500ms", "no whole number of seconds"),
            ("90.5s", "no whole number of seconds"),
            ("-1s", "negative"),
            ("90", "invalid duration"),
            ("", "invalid duration"),
            ("2147483648s", "longer than 2147483647 seconds"),
        ] {
            assert!(seconds(text).unwrap_err().contains(why), "{text}");
        }
    }
}
