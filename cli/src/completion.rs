//! Completion: scripts for shells, and the answers to kubectl.
//!
//! For `kubectl metallb <TAB>` kubectl (1.26 and later) runs `kubectl_complete-metallb`, a link to this program, with the
//! words so far, the last of them unfinished. It wants a word a line, with what it means after a tab, and at the end `:` and
//! a number: 4 says that nothing else fits, 0 that files do (cobra's `ShellCompDirective`).

use std::fmt::Debug;
use std::time::Duration;

use clap::{Arg, Args as Group, Command, CommandFactory, FromArgMatches, ValueHint};
use clap_complete::Shell;
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use metallb_api::{BGPPeer, IPAddressPool};
use serde::de::DeserializeOwned;

use crate::args::{Args, Global};
use crate::input::cluster;
use crate::program::runtime;

/// Longest that a cluster is waited for: somebody has pressed a key.
const PATIENCE: Duration = Duration::from_secs(1);

/// The shell to print a script for.
#[derive(Debug, Group)]
pub struct Completion {
    /// Which shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A script that completes the bare name `kubectl-metallb`.
pub(crate) fn script(completion: &Completion) -> String {
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, &mut Args::command(), "kubectl-metallb", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Tells whether kubectl asks, by the name that it calls this program by.
pub(crate) fn asks(called: &str) -> bool {
    let name = called.rsplit(['/', '\\']).next().unwrap_or_default();
    name.trim_end_matches(".exe") == "kubectl_complete-metallb"
}

/// What kubectl is answered.
pub(crate) fn answer(words: &[String]) -> String {
    let Some((partial, before)) = words.split_last() else {
        return ":4\n".to_owned();
    };
    let (choices, directive) = match fitting(before, partial) {
        Fitting::Words(words) => (words, 4),
        Fitting::Files => (vec![], 0),
        Fitting::Names(kind) => (names(kind, before, partial).unwrap_or_default(), 4),
    };
    let choices = choices.into_iter().filter(|(word, _)| word.starts_with(partial));
    let line = |(word, about): (String, String)| match about.is_empty() {
        true => word + "\n",
        false => format!("{word}\t{about}\n"),
    };
    choices.map(line).collect::<String>() + &format!(":{directive}\n")
}

/// What fits where the cursor is.
#[derive(Debug, PartialEq, Eq)]
enum Fitting {
    /// These words, each with what it means.
    Words(Vec<(String, String)>),
    /// Files.
    Files,
    /// Names of objects.
    Names(Kind),
}

/// Objects that are named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Service,
    Pool,
    Node,
    Peer,
    Namespace,
}

impl Kind {
    /// By the name of an argument or of its command.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "svc" | "service" => Self::Service,
            "pool" => Self::Pool,
            "node" => Self::Node,
            "peer" => Self::Peer,
            "namespace" | "metallb_namespace" => Self::Namespace,
            _ => return None,
        })
    }
}

fn fitting(before: &[String], partial: &str) -> Fitting {
    let mut root = Args::command();
    root.build();
    let (mut command, mut value, mut given) = (&root, None, 0);
    for word in before {
        if value.take().is_some() {
            continue;
        }
        match flag(command, word) {
            Some(flag) => value = takes_value(flag).then_some(flag),
            None if word.starts_with('-') => {}
            None => match command.find_subcommand(word) {
                Some(found) => command = found,
                None => given += 1,
            },
        }
    }
    if let Some(flag) = value {
        return values(command, flag);
    }
    let visible = |arg: &&Arg| !arg.is_hide_set();
    if partial.starts_with('-') {
        let flags = command.get_arguments().filter(visible);
        let long = flags.filter_map(|flag| Some((format!("--{}", flag.get_long()?), about(flag.get_help()))));
        return Fitting::Words(long.collect());
    }
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let last = positionals.last().filter(|last| repeats(last));
    if let Some(argument) = positionals.get(given).or(last) {
        return values(command, argument);
    }
    let commands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    Fitting::Words(
        commands
            .map(|sub| (sub.get_name().to_owned(), about(sub.get_about())))
            .collect(),
    )
}

/// The flag that a word is, without the value that may be in it.
fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|flag| {
        let long = flag
            .get_long()
            .is_some_and(|long| word.strip_prefix("--") == Some(long));
        let short = flag
            .get_short()
            .is_some_and(|short| word.strip_prefix('-') == Some(&*short.to_string()));
        long || short
    })
}

fn takes_value(flag: &Arg) -> bool {
    flag.get_num_args().is_some_and(|count| count.takes_values())
}

fn repeats(argument: &Arg) -> bool {
    argument.get_num_args().is_some_and(|count| count.max_values() > 1)
}

fn values(command: &Command, argument: &Arg) -> Fitting {
    let possible = argument.get_possible_values();
    if !possible.is_empty() {
        let visible = possible.iter().filter(|value| !value.is_hide_set());
        return Fitting::Words(
            visible
                .map(|value| (value.get_name().to_owned(), about(value.get_help())))
                .collect(),
        );
    }
    if [ValueHint::AnyPath, ValueHint::FilePath].contains(&argument.get_value_hint()) {
        return Fitting::Files;
    }
    let of_command = || Kind::named(command.get_name()).filter(|_| argument.is_positional());
    let kind = Kind::named(argument.get_id().as_str()).or_else(of_command);
    kind.map_or(Fitting::Words(vec![]), Fitting::Names)
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// The names of the objects there are, or none if the cluster does not say so in time.
fn names(kind: Kind, before: &[String], partial: &str) -> Option<Vec<(String, String)>> {
    let command = Args::command().ignore_errors(true);
    let words = std::iter::once("kubectl-metallb").chain(before.iter().map(String::as_str));
    let matches = command.try_get_matches_from(words).ok()?;
    // A flag may stand anywhere.
    let mut deepest = &matches;
    while let Some((_, deeper)) = deepest.subcommand() {
        deepest = deeper;
    }
    let global = Global::from_arg_matches(deepest).ok()?;
    let names = async { tokio::time::timeout(PATIENCE, ask(kind, &global, partial)).await.ok()? };
    let names = runtime().ok()?.block_on(names)?;
    Some(names.into_iter().map(|name| (name, String::new())).collect())
}

async fn ask(kind: Kind, global: &Global, partial: &str) -> Option<Vec<String>> {
    let config = cluster::config(global).await.ok()?;
    let context = config.default_namespace.clone();
    let client = Client::try_from(config).ok()?;
    match kind {
        Kind::Node => listed(Api::<Node>::all(client)).await,
        Kind::Namespace => listed(Api::<Namespace>::all(client)).await,
        Kind::Pool => listed(Api::<IPAddressPool>::all(client)).await,
        Kind::Peer => listed(Api::<BGPPeer>::all(client)).await,
        Kind::Service => {
            let (prefix, namespace) = match partial.split_once('/') {
                Some((namespace, _)) => (format!("{namespace}/"), namespace),
                None => (String::new(), global.namespace.as_deref().unwrap_or(&context)),
            };
            let services = Api::<Service>::namespaced(client, namespace)
                .list(&ListParams::default())
                .await;
            let mut services = services.ok()?.items;
            services.retain(|it| it.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer"));
            Some(services.iter().map(|it| prefix.clone() + &it.name_any()).collect())
        }
    }
}

async fn listed<K>(api: Api<K>) -> Option<Vec<String>>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let list = api.list_metadata(&ListParams::default()).await.ok()?;
    Some(list.iter().map(ResourceExt::name_any).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        answer(&words).lines().map(ToOwned::to_owned).collect()
    }

    fn at(words: &[&str]) -> Fitting {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (partial, before) = words.split_last().unwrap();
        fitting(before, partial)
    }

    // CLI-50
    #[test]
    fn commands_flags_and_values_are_completed_with_what_they_mean() {
        let commands = lines(&[""]);
        assert!(commands.contains(&"lint\tCheck files as one configuration, as admission would".to_owned()));
        assert_eq!(commands.last().unwrap(), ":4");
        assert_eq!(lines(&["vers"]).len(), 2);
        assert!(lines(&["lint", "--with"])[0].starts_with("--with-cluster\t"));
        assert!(
            lines(&["lint", "--out"])[0].starts_with("--output\t"),
            "a flag of all commands"
        );
        assert_eq!(lines(&["lint", "--backend", "frr"]), ["frr", "frr-k8s", ":4"]);
        assert_eq!(lines(&["-o", "js"]), ["json\tFor programs", ":4"]);
        assert_eq!(lines(&["completion", "z"]), ["zsh", ":4"]);
        assert_eq!(lines(&["version", ""]), [":4"]);
        assert_eq!(lines(&[]), [":4"]);
    }

    #[test]
    fn files_are_left_to_the_shell_and_names_to_the_cluster() {
        assert_eq!(lines(&["lint", "one.yaml", ""]), [":0"]);
        assert_eq!(at(&["--from", ""]), Fitting::Files);
        assert_eq!(at(&["explain", "svc", ""]), Fitting::Names(Kind::Service));
        assert_eq!(at(&["explain", "service", "shop/"]), Fitting::Names(Kind::Service));
        assert_eq!(at(&["explain", "svc", "-n", ""]), Fitting::Names(Kind::Namespace));
        assert_eq!(at(&["-q", "explain", "svc", ""]), Fitting::Names(Kind::Service));
        assert_eq!(at(&["explain", "svc", "web", ""]), Fitting::Words(vec![]));
    }

    #[test]
    fn only_kubectl_asks_by_that_name() {
        assert!(asks("/usr/local/bin/kubectl_complete-metallb") && asks(r"C:\bin\kubectl_complete-metallb.exe"));
        assert!(!asks("kubectl-metallb") && !asks(""));
    }

    #[test]
    fn every_shell_has_a_script_for_the_bare_name() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let script = script(&Completion { shell });
            assert!(
                script.contains("kubectl-metallb") && script.contains("explain"),
                "{shell}: {script}"
            );
        }
    }
}
