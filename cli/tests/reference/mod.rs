//! The files that are made from the command line: a page of all commands, and a man page for each.

use clap::{Arg, Command, CommandFactory};
use metallb_cli::Args;

/// Makes all files: their paths in the repository, and texts.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut root = Args::command();
    root.build();
    let mut reference = "# Commands\n\nMade from the program by `.ci/generate`; `--help` says the same.\n".to_owned();
    let mut files = vec![];
    each(&root, &mut |command| {
        reference += &section(command, command.get_bin_name() == root.get_bin_name());
        files.push(manual(command));
    });
    files.push(("docs/cli/commands.md".to_owned(), reference));
    files
}

/// Visits a command and those below it.
fn each(command: &Command, visit: &mut impl FnMut(&Command)) {
    visit(command);
    command.get_subcommands().for_each(|command| each(command, visit));
}

fn manual(command: &Command) -> (String, String) {
    let name = command.get_bin_name().unwrap_or_default().replace(' ', "-");
    let mut page = Vec::new();
    // clap keeps names that live for ever.
    let name: &str = name.leak();
    let command = command
        .clone()
        .name(name)
        .display_name(name)
        .version(env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command)
        .render(&mut page)
        .expect("a Vec takes everything");
    let page = String::from_utf8(page).expect("what is made of text is text");
    (format!("cli/man/{name}.1"), page)
}

fn section(command: &Command, is_root: bool) -> String {
    let text = |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string).unwrap_or_default();
    let about = text(command.get_long_about().or_else(|| command.get_about()));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let mut section = format!(
        "\n## {}\n\n{about}\n\n```text\n{usage}\n```\n",
        command.get_bin_name().unwrap_or_default()
    );
    // Flags of all commands are told once.
    let shown = |arg: &&Arg| !arg.is_hide_set() && (is_root || !arg.is_global_set()) && arg.get_id() != "help";
    let rows: Vec<String> = command.get_arguments().filter(shown).map(row).collect();
    if !rows.is_empty() {
        section += &format!("\n| Argument | Meaning |\n|---|---|\n{}", rows.concat());
    }
    section
}

fn row(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = arg
        .get_possible_values()
        .iter()
        .map(|it| it.get_name().to_owned())
        .collect();
    let is_flag = arg.get_num_args().is_some_and(|count| !count.takes_values());
    let choices = match values.is_empty() || is_flag {
        true => String::new(),
        false => format!(": {}", values.join(", ")),
    };
    format!("| `{}` | {} |\n", arg, (help + &choices).replace('|', r"\|"))
}
