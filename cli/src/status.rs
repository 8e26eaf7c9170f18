//! `status`: how MetalLB is doing, and what is wrong.

mod problems;
pub(crate) mod rows;
pub(crate) mod text;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::anyhow;
use regex::Regex;

use crate::args::{Global, Output, Status as Args};
use crate::facts::{Facts, Read, Source};
use crate::input::{self, Failure, Wanted};
use crate::program::{Printed, finish};
use crate::world::World;

/// Clears the rest of a line, and of the screen.
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";
/// Opens and leaves the alternate screen, and shows no cursor there.
const OPEN: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";

pub(crate) async fn run(global: &Global, args: &Args) -> Printed {
    match args.watch {
        None => look(global).await,
        Some(_) if !global.from.is_empty() => {
            Err(Failure::Usage(anyhow!("--watch needs a cluster: files do not change")))
        }
        Some(pause) => watch(global, pause).await,
    }
}

async fn look(global: &Global) -> Printed {
    let facts = input::read(global, Wanted::Status).await?;
    print(global, &facts)
}

fn print(global: &Global, facts: &Facts) -> Printed {
    if let Some(text) = absent(facts).or_else(|| facts.lacks_configuration()) {
        return Err(Failure::Cluster(anyhow!(text)));
    }
    let world = World::new(facts, global).map_err(Failure::Usage)?;
    finish(rows::report(facts, &world), global, text::text)
}

/// How it is known that MetalLB is not installed, if it is not.
fn absent(facts: &Facts) -> Option<String> {
    let unserved = matches!(facts.pools, Read::NotServed) && matches!(facts.address_pools, Read::NotServed);
    let configured = facts.pools.list().len() + facts.address_pools.list().len() + facts.peers.list().len();
    let runs = facts.pods.list().len() + facts.daemon_sets.list().len() + facts.deployments.list().len();
    let why = match facts.source {
        Source::Files(_) if configured + runs == 0 => "there is none of its objects in the input",
        _ if unserved => "its CustomResourceDefinitions are missing",
        _ => return None,
    };
    Some(format!("no MetalLB here: {why}"))
}

/// Prints what has changed, until interrupted: on a terminal the whole screen, elsewhere a document or the problems.
async fn watch(global: &Global, pause: Duration) -> Printed {
    let screen = std::io::stdout().is_terminal() && matches!(global.output, Output::Text | Output::Wide);
    let global = Global {
        quiet: global.quiet || !screen && global.output == Output::Text,
        ..global.clone()
    };
    let (mut out, mut before) = (std::io::stdout(), String::new());
    if screen {
        let _ = out.write_all(OPEN.as_bytes());
    }
    let shown = async {
        loop {
            let (text, _) = look(&global).await?;
            let gist = gist(&text);
            let drawn = match screen {
                true => format!(
                    "{HOME}{}{REST_OF_SCREEN}",
                    text.replace('\n', &format!("{REST_OF_LINE}\n"))
                ),
                false if gist == before => String::new(),
                false => text,
            };
            before = gist;
            // Who reads no further wants no more.
            if out.write_all(drawn.as_bytes()).and_then(|()| out.flush()).is_err() {
                return Ok((String::new(), 0));
            }
            tokio::time::sleep(pause).await;
        }
    };
    let ended = tokio::select! {
        ended = shown => ended,
        _ = tokio::signal::ctrl_c() => Ok((String::new(), 0)),
    };
    if screen {
        let _ = std::io::stdout().write_all(LEAVE.as_bytes());
    }
    ended
}

/// A text without what passes by itself: times and ages.
fn gist(text: &str) -> String {
    static PASSING: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let passing = r#"(?m) for \d+[smhd]\b|^Rests on: .*$|^ *"?(time|renewed)"?: .*$"#;
        Regex::new(passing).ok()
    });
    let plain = PASSING.as_ref().map(|passing| passing.replace_all(text, ""));
    plain.map_or_else(|| text.to_owned(), Cow::into_owned)
}

#[cfg(test)]
pub(crate) mod tests;
