//! The text of a configuration file.

use std::fmt;

/// FNV-1a, 64 bits, of a text: by it the reloader names a configuration to the speaker.
pub fn digest(text: &str) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv)
}

/// The text of `frr.conf`. It may hold passwords, so `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// The text, to be written into a file that others cannot read.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn push(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = fmt::Write::write_fmt(&mut self.0, line);
        self.0.push('\n');
    }

    /// Adds the user's own lines.
    pub(crate) fn push_verbatim(&mut self, lines: &str) {
        self.0.push_str(lines);
        if !lines.is_empty() && !lines.ends_with('\n') {
            self.0.push('\n');
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} lines)", self.0.lines().count())
    }
}

/// Adds one line to a [`Text`].
macro_rules! line {
    ($text:expr, $($format:tt)*) => { $text.push(format_args!($($format)*)) };
}
pub(crate) use line;
