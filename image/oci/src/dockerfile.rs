//! The last stage of a Dockerfile. What is not understood is refused: ignored, it would make another image.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::words;

/// The variable that every image based on `scratch` gets from its builder.
const PATH: (&str, &str) = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

/// What the last stage says of the image, but its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) user: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// One instruction, with the line that it starts in.
struct Instruction {
    line: usize,
    name: String,
    argument: String,
}

impl Stage {
    /// Says how the image is run, in the words of OCI's image configuration.
    pub(crate) fn config(&self) -> Value {
        let environment = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
        json!({
            "User": self.user,
            "Env": environment.collect::<Vec<_>>(),
            "Entrypoint": self.entrypoint,
            "WorkingDir": "/",
            "Labels": self.labels,
        })
    }

    /// Reads the last stage; `given` are build arguments, `NAME=VALUE`.
    ///
    /// # Errors
    /// An instruction is unknown or not of the expected form, or a build argument has no ARG.
    pub(crate) fn last_of(text: &str, given: &[String]) -> anyhow::Result<Self> {
        let all = instructions(text)?;
        let is_from = |instruction: &Instruction| instruction.name == "FROM";
        let last = all.iter().rposition(is_from).context("it has no FROM")?;
        let first = all.iter().position(is_from).unwrap_or(last);
        let given = given
            .iter()
            .map(|argument| argument.split_once('=').context("a build argument is NAME=VALUE"))
            .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
        let mut reader = Reader {
            given,
            // Before the first stage there are defaults for those that a stage names without one.
            outer: all[..first]
                .iter()
                .filter_map(|it| it.argument.split_once('='))
                .collect(),
            stages: all[..last].iter().filter_map(stage_name).collect(),
            ..Reader::default()
        };
        for instruction in &all[last..] {
            reader
                .read(instruction)
                .with_context(|| format!("line {}: {}", instruction.line, instruction.name))?;
        }
        reader.finish()
    }
}

/// The name of a stage, from its FROM.
fn stage_name(instruction: &Instruction) -> Option<&str> {
    let words: Vec<_> = instruction.argument.split_whitespace().collect();
    match words.as_slice() {
        [.., keyword, name] if instruction.name == "FROM" && keyword.eq_ignore_ascii_case("as") => Some(name),
        _ => None,
    }
}

/// Splits a Dockerfile, comments and line ends taken out.
fn instructions(text: &str) -> anyhow::Result<Vec<Instruction>> {
    let mut all = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            ensure!(
                !comment.trim_start().starts_with("escape"),
                "line {}: another escape character is not understood",
                index + 1
            );
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let (_, joined) = open.get_or_insert((index + 1, String::new()));
        if let Some(continued) = line.strip_suffix('\\') {
            joined.push_str(continued);
            joined.push(' ');
            continue;
        }
        joined.push_str(line);
        all.extend(open.take().map(|(line, text)| instruction(line, &text)));
    }
    ensure!(open.is_none(), "the last line ends in a backslash");
    Ok(all)
}

fn instruction(line: usize, text: &str) -> Instruction {
    let (name, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    Instruction {
        line,
        name: name.to_ascii_uppercase(),
        argument: argument.trim().to_owned(),
    }
}

#[derive(Default)]
struct Reader<'a> {
    given: BTreeMap<&'a str, &'a str>,
    outer: BTreeMap<&'a str, &'a str>,
    stages: Vec<&'a str>,
    variables: BTreeMap<String, String>,
    used: Vec<String>,
    copies: usize,
    stage: Stage,
}

impl Reader<'_> {
    fn read(&mut self, instruction: &Instruction) -> anyhow::Result<()> {
        let argument = instruction.argument.as_str();
        match instruction.name.as_str() {
            "FROM" => ensure!(
                argument.split_whitespace().next() == Some("scratch"),
                "only a last stage FROM scratch is understood"
            ),
            "ARG" => self.argument(argument)?,
            "ENV" => {
                for (name, value) in self.pairs(argument)? {
                    self.variables.insert(name.clone(), value.clone());
                    self.stage.environment.retain(|(old, _)| *old != name);
                    self.stage.environment.push((name, value));
                }
            }
            "LABEL" => {
                let labels = self.pairs(argument)?;
                self.stage.labels.extend(labels);
            }
            "USER" => self.stage.user = self.one(argument)?,
            "ENTRYPOINT" => {
                self.stage.entrypoint =
                    serde_json::from_str(argument).context("only a JSON list of strings is understood")?;
            }
            "COPY" => self.copy(argument)?,
            _ => bail!("this instruction is not understood in the last stage: teach metallb-oci what it means"),
        }
        Ok(())
    }

    fn argument(&mut self, argument: &str) -> anyhow::Result<()> {
        let word = self.one(argument)?;
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(default)),
            None => (word.as_str(), None),
        };
        let value = self
            .given
            .get(name)
            .copied()
            .or(default)
            .or_else(|| self.outer.get(name).copied());
        self.used.push(name.to_owned());
        if let Some(value) = value {
            self.variables.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// The one copy that there is: of the root that is laid out, whose files all become root's.
    fn copy(&mut self, argument: &str) -> anyhow::Result<()> {
        let words = words::split(argument, &self.variables)?;
        let [from, source, target] = words.as_slice() else {
            bail!("only COPY --from=STAGE FOLDER/ / is understood")
        };
        let stage = from.strip_prefix("--from=");
        ensure!(
            stage.is_some_and(|stage| self.stages.contains(&stage)) && source.ends_with('/') && target == "/",
            "only COPY --from=STAGE FOLDER/ / is understood"
        );
        self.copies += 1;
        Ok(())
    }

    fn one(&self, argument: &str) -> anyhow::Result<String> {
        let mut words = words::split(argument, &self.variables)?;
        ensure!(words.len() == 1, "one word is expected, there are {}", words.len());
        Ok(words.remove(0))
    }

    fn pairs(&self, argument: &str) -> anyhow::Result<Vec<(String, String)>> {
        let words = words::split(argument, &self.variables)?;
        ensure!(!words.is_empty(), "nothing follows it");
        let pair = |word: String| {
            let (name, value) = word
                .split_once('=')
                .with_context(|| format!("only NAME=VALUE is understood, not {word}"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        words.into_iter().map(pair).collect()
    }

    fn finish(mut self) -> anyhow::Result<Stage> {
        ensure!(self.copies == 1, "the last stage copies {} roots, not one", self.copies);
        ensure!(!self.stage.entrypoint.is_empty(), "the last stage has no ENTRYPOINT");
        for name in self.given.keys() {
            ensure!(
                self.used.iter().any(|used| used == name),
                "the last stage has no ARG {name} for the build argument"
            );
        }
        if self.stage.environment.iter().all(|(name, _)| name != PATH.0) {
            self.stage.environment.insert(0, (PATH.0.to_owned(), PATH.1.to_owned()));
        }
        Ok(self.stage)
    }
}
