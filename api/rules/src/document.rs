//! Writes the table of rules for people.

use std::fmt::Write;

use metallb_config::Backend;

use super::{ELSEWHERE, Effect, Entry, Object, PEER, Stage, all};

const HEAD: &str = "\
# Validation

Every rule by which MetalLB-rs refuses an object or warns of it. Written by `.ci/generate` from `api/rules`; a
test sends each example through the schema, the webhooks and the parser.

- **schema**: the API server itself, by the CustomResourceDefinition.
- **admission**: the webhooks, on create and update; **deletion**: on delete.
- **load**: controller and speaker when they read the object, however it came to be stored. A refused object is left out
  alone and named in ConfigurationState; all others work on.

Warnings do not hinder anything: `kubectl` prints them.
";

const TAIL: &str = "
## Running the webhooks

- **Ready**: `/readyz` says yes once a review was answered over TLS under the name of the Service. A Service leads to ready
  Pods only, so the request goes to the own port; everything else is as an API server would have it: the certificate must
  carry the name of the Service and fit the CA that was written into the webhook configuration, and the answer needs every
  object to be readable. Until then `/readyz` says what is missing. A certificate that somebody else provides
  (`--disable-cert-rotation`) is served as it is: only its provider knows whom API servers trust.
- **Certificates in files** (`--cert-dir`) are read every two seconds; a pair that does not fit is not served, nor is a
  certificate that went away forgotten.
- **Metrics**, beside those of the component: `controller_runtime_webhook_requests_total`,
  `controller_runtime_webhook_latency_seconds` and `controller_runtime_webhook_requests_in_flight` by path, as upstream, and
  `metallb_admission_reviews_total` by kind, operation and verdict (`allowed`, `warned`, `denied`, or `failed` when nothing
  could be decided).
- **Requests** larger than 7 MiB (two objects as large as an API server takes them) are answered with 413, conversions,
  which may carry a whole list, above 16 MiB. Those that are no JSON by their content type get 415, those that are no
  review, or one of an unknown version, 400. An object that cannot be read is denied with code 400 inside the review.
- **Patience**: 5 s for a TLS handshake, 10 s for the head of a request (then 408), 8 s for its body (408), 60 s for
  everything, 120 s between requests. Of 128 connections none is refused: one more closes the oldest of the address that
  has most. Bodies above 32 KiB share room for two of the largest, half of it for one address; who finds none for 5 s gets
  503. The ports of metrics and health have the same limits on connections.
";

/// Writes `docs/validation.md`.
#[must_use]
pub fn document() -> String {
    let entries = all();
    let mut kinds: Vec<&str> = Vec::new();
    for entry in &entries {
        if !kinds.contains(&entry.kinds[0]) {
            kinds.push(entry.kinds[0]);
        }
    }
    let mut text = HEAD.to_owned();
    for kind in kinds {
        let _ = write!(text, "\n## {kind}\n\n");
        if kind == "BGPPeer" {
            let _ = write!(text, "Examples show what differs from `{PEER}`.\n\n");
        }
        text.push_str(
            "| Rule | Refused or warned of when it … | Checked | Example | Message |\n|---|---|---|---|---|\n",
        );
        for entry in entries
            .iter()
            .filter(|entry| entry.kinds[0] == kind && !entry.at.is_empty())
        {
            row(&mut text, entry);
        }
    }
    text.push_str(
        "\n## Rules of upstream that do not hold here\n\n| Rule | An object is fine although it … |\n|---|---|\n",
    );
    for entry in entries.iter().filter(|entry| entry.at.is_empty()) {
        let _ = writeln!(text, "| {} | {} |", entry.rule, entry.meaning);
    }
    text.push_str("\n## What holds in place of the rest\n\n| Name | Here |\n|---|---|\n");
    for (name, instead) in ELSEWHERE {
        let _ = writeln!(text, "| {name} | {} |", cell(instead));
    }
    text.push_str(TAIL);
    text
}

fn row(text: &mut String, entry: &Entry) {
    let others = &entry.kinds[1..];
    let also = if others.is_empty() {
        String::new()
    } else {
        format!(" (also {})", others.join(", "))
    };
    let mut example = format!("`{}`", cell(entry.bad));
    if let Some(before) = entry.before {
        let _ = write!(example, " instead of `{}`", cell(before));
    }
    let beside: Vec<String> = entry.beside.iter().map(besides).collect();
    if !beside.is_empty() {
        let _ = write!(example, " beside {}", beside.join(", "));
    }
    let _ = writeln!(
        text,
        "| {} | {}{also} | {} | {example} | {} |",
        entry.rule,
        entry.meaning,
        checked(entry),
        cell(entry.words),
    );
}

fn besides(object: &Object) -> String {
    format!("{} {} `{}`", object.kind, object.name, cell(object.text))
}

fn checked(entry: &Entry) -> String {
    let stage = |&(stage, effect): &(Stage, Effect)| {
        let stage = match stage {
            Stage::Schema => "schema",
            Stage::Admission => "admission",
            Stage::Deletion => "deletion",
            Stage::Load => "load",
        };
        match effect {
            Effect::Refused => stage.to_owned(),
            Effect::Warned => format!("{stage}: warning"),
        }
    };
    let stages: Vec<String> = entry.at.iter().map(stage).collect();
    let only = match entry.backends {
        [Backend::Native] => "; native only",
        [Backend::Frr, Backend::FrrK8s] => "; FRR modes only",
        _ => "",
    };
    format!("{}{only}", stages.join(", "))
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
