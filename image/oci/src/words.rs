//! The words of an instruction: quotes, escapes and variables, as far as our Dockerfile needs them.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

/// Splits a text at blanks outside quotes, and puts in the values of variables.
///
/// # Errors
/// A quote is open, a variable is unknown, or is of a form other than `$NAME` and `${NAME}`.
pub(crate) fn split(text: &str, variables: &BTreeMap<String, String>) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match (char, quote) {
            (' ' | '\t', None) => words.extend(word.take()),
            ('"' | '\'', None) => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (char, Some(open)) if char == open => quote = None,
            ('\\', None | Some('"')) => {
                let escaped = rest.next().context("nothing follows a backslash")?;
                // Between double quotes other backslashes stand for themselves.
                if quote.is_some() && !['"', '\\', '$'].contains(&escaped) {
                    word.get_or_insert_default().push('\\');
                }
                word.get_or_insert_default().push(escaped);
            }
            ('$', None | Some('"')) => {
                let braced = rest.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(char) = rest.next_if(|char| char.is_ascii_alphanumeric() || *char == '_') {
                    name.push(char);
                }
                if name.is_empty() || braced && rest.next() != Some('}') {
                    bail!("only $NAME and ${{NAME}} are understood after a dollar")
                }
                let value = variables
                    .get(&name)
                    .with_context(|| format!("no ARG or ENV before it is called {name}"))?;
                word.get_or_insert_default().push_str(value);
            }
            (char, _) => word.get_or_insert_default().push(char),
        }
    }
    if let Some(open) = quote {
        bail!("a quote {open} is not closed")
    }
    words.extend(word);
    Ok(words)
}
