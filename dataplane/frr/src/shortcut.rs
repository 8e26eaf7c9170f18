//! The commands for a change that needs no reload: one that only adds lines or removes prefixes.

use std::collections::{BTreeMap, BTreeSet};

/// Numbered entries of prefix lists, split after the number.
type Entries<'a> = BTreeMap<&'a str, &'a str>;

/// The lines that a line is nested in, and the line.
type Placed<'a> = (Vec<&'a str>, &'a str);

/// First words of the blocks to which single lines may be added. A user's own lines in other blocks may depend on the lines
/// before them.
const STARTS: [&str; 8] = [
    "route-map ",
    "router bgp ",
    "bfd",
    "log ",
    "debug ",
    "hostname ",
    "ip nht ",
    "ipv6 nht ",
];

/// The lines of a file, by how they are treated.
#[derive(Debug, Default)]
struct File<'a> {
    /// Entries of prefix lists with numbers.
    entries: Entries<'a>,
    /// `network` lines.
    networks: BTreeSet<Placed<'a>>,
    /// All other lines.
    rest: Vec<Placed<'a>>,
}

impl<'a> File<'a> {
    fn read(text: &'a str) -> Self {
        let (mut file, mut above) = (Self::default(), Vec::<&str>::new());
        for line in text.lines().filter(|line| !is_end(line)) {
            while above.last().is_some_and(|last| indent(last) >= indent(line)) {
                above.pop();
            }
            if let Some((number, entry)) = entry(line) {
                file.entries.insert(number, entry);
            } else if is_network(line) {
                file.networks.insert((above.clone(), line));
            } else {
                file.rest.push((above.clone(), line));
            }
            above.push(line);
        }
        // FRR has the block as long as there is anything in it.
        let is_head = |(_, line): &Placed<'_>| line.starts_with("  address-family ");
        file.rest.retain(|placed| !is_head(placed));
        file
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_end(line: &str) -> bool {
    ["", "!", "exit", "exit-address-family"].contains(&line.trim())
}

fn is_network(line: &str) -> bool {
    line.starts_with("    network ")
}

/// Splits `ip prefix-list NAME seq N permit …` after the number.
fn entry(line: &str) -> Option<(&str, &str)> {
    if !line.starts_with("ip prefix-list ") && !line.starts_with("ipv6 prefix-list ") {
        return None;
    }
    let words = [" permit ", " deny "];
    let action = words.into_iter().filter_map(|word| line.find(word)).min()?;
    let (number, entry) = line.split_at(action);
    number.contains(" seq ").then_some((number, entry))
}

/// The commands that change `before`, which FRR runs, into `after`; both are results of [`crate::Desired::render`]. `None`
/// if anything other than prefixes must be removed, which needs a reload.
///
/// No prefix is announced without its attributes: it is added to its lists first and removed from them last.
pub fn shortcut(before: &str, after: &str) -> Option<Vec<String>> {
    let (before, after) = (File::read(before), File::read(after));
    let known: BTreeSet<_> = before.rest.iter().collect();
    let new: Vec<_> = after.rest.iter().filter(|placed| !known.contains(placed)).collect();
    let wanted: BTreeSet<_> = after.rest.iter().collect();
    if !known.is_subset(&wanted) || !new.iter().all(|placed| may_be_added(placed)) {
        return None;
    }
    let added = entries(&after.entries, &before.entries);
    // An entry whose number is used again is replaced by the new one.
    let gone = before
        .entries
        .iter()
        .filter(|(number, _)| !after.entries.contains_key(*number));
    let gone: Vec<_> = gone.map(|(number, entry)| format!("{number}{entry}")).collect();
    let (permits, denials): (Vec<_>, Vec<_>) = added.into_iter().partition(|line| is_permit(line));
    let (no_permits, no_denials): (Vec<_>, Vec<_>) = gone.into_iter().partition(|line| is_permit(line));
    let no = |line: String| format!("no {line}");
    let mut commands = permits;
    commands.extend(no_denials.into_iter().map(no));
    // An empty list permits nothing, as one that denies all.
    place(
        &mut commands,
        new.into_iter().map(|(above, line)| (above, (*line).to_owned())),
    );
    let networks = before.networks.symmetric_difference(&after.networks);
    let command = |placed: &Placed<'_>| match after.networks.contains(placed) {
        true => placed.1.to_owned(),
        false => format!("    no {}", placed.1.trim_start()),
    };
    place(&mut commands, networks.map(|placed| (&placed.0, command(placed))));
    commands.extend(denials);
    commands.extend(no_permits.into_iter().map(no));
    Some(commands)
}

fn may_be_added((above, line): &Placed<'_>) -> bool {
    let first = above.first().unwrap_or(line);
    STARTS.iter().any(|start| first.starts_with(start))
}

fn is_permit(line: &str) -> bool {
    line.contains(" permit ")
}

/// Entries that are not among `others`.
fn entries(entries: &Entries<'_>, others: &Entries<'_>) -> Vec<String> {
    let new = entries
        .iter()
        .filter(|(number, entry)| others.get(*number) != Some(*entry));
    new.map(|(number, entry)| format!("{number}{entry}")).collect()
}

/// Adds lines inside the blocks that they belong to.
fn place<'a>(commands: &mut Vec<String>, lines: impl Iterator<Item = (&'a Vec<&'a str>, String)>) {
    let mut inside = Vec::new();
    for (above, line) in lines {
        if inside != *above {
            // The block may just have been opened.
            let written =
                !inside.is_empty() || above.len() != 1 || commands.last().is_none_or(|last| *last != above[0]);
            if written {
                leave(commands, &inside);
                commands.extend(above.iter().map(|line| (*line).to_owned()));
            }
            inside.clone_from(above);
        }
        commands.push(line);
    }
    leave(commands, &inside);
}

fn leave(commands: &mut Vec<String>, inside: &[&str]) {
    for line in inside.iter().rev() {
        let is_family = line.trim_start().starts_with("address-family ");
        let end = if is_family { "exit-address-family" } else { "exit" };
        commands.push(format!("{}{end}", " ".repeat(indent(line))));
    }
}
