//! Text: tables as kubectl prints them, and marks.

use std::io::IsTerminal;

use crate::args::{Color, Global};

/// How text is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    pub(crate) ascii: bool,
    pub(crate) color: bool,
    pub(crate) wide: bool,
    pub(crate) quiet: bool,
}

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Bad,
    Doubtful,
    Unknown,
}

impl Style {
    /// What the command line and the terminal ask for.
    pub(crate) fn of(global: &Global) -> Self {
        let said = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = std::io::stdout().is_terminal();
        Self {
            ascii: global.ascii,
            color: match global.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => terminal && !dumb && !said("NO_COLOR"),
            },
            wide: global.output == crate::args::Output::Wide,
            quiet: global.quiet,
        }
    }

    pub(crate) fn mark(self, mark: Mark) -> String {
        let (sign, ascii, color) = match mark {
            Mark::Good => ("✓", "ok", 32),
            Mark::Bad => ("✗", "FAIL", 31),
            Mark::Doubtful => ("!", "warn", 33),
            Mark::Unknown => ("?", "?", 33),
        };
        let sign = if self.ascii { ascii } else { sign };
        match self.color {
            true => format!("\u{1b}[{color}m{sign}\u{1b}[0m"),
            false => sign.to_owned(),
        }
    }

    /// Text as it goes out: without a character beyond ASCII, if so asked.
    pub(crate) fn finish(self, text: &str) -> String {
        if !self.ascii {
            return text.to_owned();
        }
        let text = text
            .replace('✓', "ok")
            .replace('✗', "FAIL")
            .replace('→', "->")
            .replace('←', "<-");
        let text = text.replace('≠', "!=").replace('…', "...");
        let text = text.replace('█', "#").replace('░', ".");
        text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
    }
}

/// Rows under heads, two blanks between columns, the last one ragged.
pub(crate) fn table(indent: usize, heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count());
        cells.chain([heads[at].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("{:indent$}{}\n", "", line.trim_end())
    };
    let mut text = line(&mut heads.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A value, or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    let text = value.map(|value| value.to_string());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// A number of things: `1 node`, `2 nodes`.
pub(crate) fn many(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Names, the first few of them.
pub(crate) fn few(names: &[String], most: usize) -> String {
    match names {
        names if names.len() <= most + 1 => names.join(", "),
        names => format!("{} and {} more", names[..most].join(", "), names.len() - most),
    }
}

/// The name that somebody must have meant.
pub(crate) fn meant<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (distance(&text.to_lowercase(), &name.to_lowercase()), name));
    near.filter(|(distance, _)| *distance * 3 <= text.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// How many characters are put in, left out, changed, or exchanged with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let rows = [
            vec!["web".to_owned(), "9".to_owned()],
            vec!["→".to_owned(), String::new()],
        ];
        assert_eq!(table(1, &["POOL", "FREE"], &rows), " POOL  FREE\n web   9\n →\n");
    }

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_name_is_not_taken_for_one() {
        let names = || ["web", "gold", "peerASN"].into_iter();
        assert_eq!(meant("wbe", names()), Some("web"));
        assert_eq!(meant("peerAsn", names()), Some("peerASN"));
        assert_eq!(meant("goldd", names()), Some("gold"));
        assert_eq!(meant("lab", names()), None);
    }

    // CLI-7
    #[test]
    fn ascii_is_ascii() {
        let style = Style {
            ascii: true,
            ..Style::default()
        };
        let text = style.finish(&format!("{} a → b ← c ≠ … ü ✓", style.mark(Mark::Bad)));
        assert!(text.is_ascii(), "{text}");
        assert_eq!(style.mark(Mark::Good), "ok");
        assert!(Style { color: true, ..style }.mark(Mark::Bad).contains('\u{1b}'));
    }
}
