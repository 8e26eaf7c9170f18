//! The figures of all speakers, side by side.

use std::fmt::Write as _;
use std::time::Duration;

/// Figures by what they tell, in the order they were first found.
#[derive(Debug)]
pub struct Table {
    labels: Vec<String>,
    rows: Vec<(String, Vec<Option<f64>>)>,
    notes: Vec<String>,
}

impl Table {
    /// An empty one; the first of the labels is the baseline.
    #[must_use]
    pub fn new(labels: Vec<String>) -> Self {
        Self {
            labels,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Enters a figure, whose unit is in `what`; `None` is one that there is not.
    pub fn enter(&mut self, what: &str, label: &str, value: Option<f64>) {
        let Some(column) = self.labels.iter().position(|it| it == label) else {
            return;
        };
        let row = self.rows.iter().position(|(it, _)| it == what).unwrap_or_else(|| {
            self.rows.push((what.to_owned(), vec![None; self.labels.len()]));
            self.rows.len() - 1
        });
        self.rows[row].1[column] = value;
        eprintln!("   {label}: {what}: {}", cell(value));
    }

    /// Enters what is no figure.
    pub fn note(&mut self, text: String) {
        eprintln!("   {text}");
        self.notes.push(text);
    }

    /// The table as Markdown, with each ratio to the baseline.
    pub fn text(&self) -> String {
        let baseline = self.labels.first().map_or("", String::as_str);
        let mut text = String::from("| |");
        for label in &self.labels {
            let _ = write!(text, " {label} |");
        }
        for label in self.labels.iter().skip(1) {
            let _ = write!(text, " {label} / {baseline} |");
        }
        let columns = self.labels.len() * 2 - usize::from(!self.labels.is_empty());
        let _ = write!(text, "\n|---|{}", "---:|".repeat(columns));
        for (what, values) in &self.rows {
            let _ = write!(text, "\n| {what} |");
            for value in values {
                let _ = write!(text, " {} |", cell(*value));
            }
            let first = values.first().copied().flatten();
            for value in values.iter().skip(1) {
                // A ratio of what may be around nought, or below, tells nothing.
                let ratio = value.zip(first).filter(|(value, first)| *first > 0.0 && *value > 0.0);
                let ratio = ratio.map_or_else(|| "–".into(), |(value, first)| format!("{:.2}", value / first));
                let _ = write!(text, " {ratio} |");
            }
        }
        for note in &self.notes {
            let _ = write!(text, "\n- {note}");
        }
        text
    }
}

fn cell(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.abs() < 10.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.1}"),
    }
}

/// The value that `percent` of them are not above.
pub fn percentile(values: &mut [f64], percent: usize) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied()
}

/// A time in milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
