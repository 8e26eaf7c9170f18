//! From one configuration to another without a reload, where only routes differ.

use std::collections::{BTreeMap, BTreeSet};

/// A numbered entry of a prefix list: all before the word after the number, and the rest.
type Entries<'a> = BTreeMap<&'a str, &'a str>;

/// The parts of a file that this can tell from each other.
#[derive(Debug, Default)]
struct File<'a> {
    /// Entries of prefix lists with numbers.
    entries: Entries<'a>,
    /// Head of the router, head of the address family, and what it announces.
    networks: BTreeSet<(&'a str, &'a str, &'a str)>,
    /// All other lines.
    rest: Vec<&'a str>,
}

impl<'a> File<'a> {
    fn read(text: &'a str) -> Self {
        let (mut file, mut router) = (Self::default(), "");
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if !line.starts_with(' ') {
                router = line;
            }
            if let Some((number, entry)) = entry(line) {
                file.entries.insert(number, entry);
            } else if line.starts_with("  address-family ") && lines.peek().is_some_and(|next| is_network(next)) {
                while let Some(network) = lines.next_if(|next| is_network(next)) {
                    file.networks.insert((router, line, network));
                }
                lines.next_if(|next| *next == "  exit-address-family");
            } else {
                file.rest.push(line);
            }
        }
        file
    }
}

fn is_network(line: &str) -> bool {
    line.starts_with("    network ")
}

/// Splits `ip prefix-list NAME seq N permit …` after the number.
fn entry(line: &str) -> Option<(&str, &str)> {
    if !line.starts_with("ip prefix-list ") && !line.starts_with("ipv6 prefix-list ") {
        return None;
    }
    let action = [" permit ", " deny "]
        .into_iter()
        .filter_map(|word| line.find(word))
        .min()?;
    let (number, entry) = line.split_at(action);
    number.contains(" seq ").then_some((number, entry))
}

/// The commands that lead from `before`, which FRR runs, to `after`, both made by [`crate::Desired::render`]; `None` if
/// more differs than which prefixes there are, so that the whole file must be loaded.
///
/// In this order no prefix is announced without what belongs to it: it enters its lists first and leaves them last.
pub fn shortcut(before: &str, after: &str) -> Option<Vec<String>> {
    let (before, after) = (File::read(before), File::read(after));
    if before.rest != after.rest {
        return None;
    }
    let added = entries(&after.entries, &before.entries);
    // Where a number has another entry now, that one has taken the place.
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
    networks(&mut commands, &before, &after);
    commands.extend(denials);
    commands.extend(no_permits.into_iter().map(no));
    Some(commands)
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

fn networks(commands: &mut Vec<String>, before: &File<'_>, after: &File<'_>) {
    let mut place = None;
    for it in before.networks.symmetric_difference(&after.networks) {
        let &(router, family, network) = it;
        if place != Some((router, family)) {
            if place.is_some() {
                commands.extend(["  exit-address-family".to_owned(), "exit".to_owned()]);
            }
            commands.extend([router.to_owned(), family.to_owned()]);
            place = Some((router, family));
        }
        let no = if after.networks.contains(it) { "" } else { "no " };
        commands.push(format!("    {no}{}", network.trim_start()));
    }
    if place.is_some() {
        commands.extend(["  exit-address-family".to_owned(), "exit".to_owned()]);
    }
}
