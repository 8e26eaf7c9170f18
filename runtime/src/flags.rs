//! Command lines written for Go's `flag` package.

use std::ffi::OsString;

/// Doubles the single dash that Go allows before a long flag (`-port=9120`), so that clap understands it.
///
/// What follows `--`, and single letters such as `-h`, stay as they are.
pub fn go_style(args: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut flags = true;
    args.into_iter().map(move |arg| {
        let Some(text) = arg.to_str().filter(|_| flags) else {
            return arg;
        };
        flags = text != "--";
        match text.strip_prefix('-') {
            Some(name) if name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                format!("--{name}").into()
            }
            _ => arg,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_is_as_good_as_two() {
        let args = ["speaker", "-port=1", "--host=x", "-h", "-5", "--", "-raw"].map(OsString::from);
        let got: Vec<OsString> = go_style(args).collect();
        assert_eq!(got, ["speaker", "--port=1", "--host=x", "-h", "-5", "--", "-raw"]);
    }
}
