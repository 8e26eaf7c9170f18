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
        let Some(text) = &self.speaker_gratuitous_arp_interval else {
            return Ok(None);
        };
        let interval = text.parse().map_err(|error| error.to_string())?;
        if interval.subsec_nanos() != 0 {
            return Err(format!("{:?} is no whole number of seconds", text.as_str()));
        }
        match interval.as_secs() {
            0 => Ok(None),
            seconds if seconds > LONGEST => Err(format!("{:?} is longer than {LONGEST} seconds", text.as_str())),
            seconds => Ok(Some(seconds)),
        }
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
