//! The product's rights, judged by what it asked a real API server for: nothing may be refused, and nothing granted that
//! is never used.

mod spared;
mod unused;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use metallb_lab::{NAMESPACE, OPERATOR};

use crate::envtest::audit::{self, Request};
use crate::envtest::audit_log;

/// Names the file to which every test adds what was asked for.
pub(super) const LOG: &str = "METALLB_LAB_REQUESTS";

/// Holds how many requests are judged, when not all.
const UNTIL: &str = "judged-until";

/// Ends the judgement: what follows takes the product's rights away before its pods have ended, as an uninstall does.
pub(crate) fn judge_until_now(dir: &Path) -> Result<()> {
    let log = audit_log(dir);
    if !log.is_file() {
        return Ok(());
    }
    let count = audit::read(&log)?.len();
    fs::write(dir.join(UNTIL), count.to_string()).context("cannot note where the judgement ends")
}

/// Fails when the product was refused a request in the lab of `dir`, and notes what it asked for.
pub(super) fn judge(dir: &Path) -> Result<()> {
    let log = audit_log(dir);
    if !log.is_file() {
        return Ok(());
    }
    let until = fs::read_to_string(dir.join(UNTIL))
        .ok()
        .and_then(|count| count.parse().ok());
    let all = audit::read(&log)?.into_iter().take(until.unwrap_or(usize::MAX));
    let ours: Vec<Request> = all.filter(is_ours).collect();
    if let Some(path) = std::env::var_os(LOG) {
        note(Path::new(&path), &ours)?;
    }
    let refused: BTreeSet<String> = ours.iter().filter(|request| request.code == 403).map(tell).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = refused.into_iter().collect();
    bail!(
        "the API server refused requests of the product:\n  {}",
        all.join("\n  ")
    )
}

fn is_ours(request: &Request) -> bool {
    request
        .account
        .split_once('/')
        .is_some_and(|(namespace, _)| namespace == NAMESPACE)
}

fn tell(request: &Request) -> String {
    let Request { account, verb, uri, .. } = request;
    format!(
        "{account}: {verb} {} at {uri}: {}",
        unused::qualified(&request.group, &request.resource),
        request.reason
    )
}

fn note(path: &Path, requests: &[Request]) -> Result<()> {
    let mut counts: BTreeMap<Request, usize> = BTreeMap::new();
    for request in requests {
        let kept = Request {
            uri: String::new(),
            ..request.clone()
        };
        *counts.entry(kept).or_default() += 1;
    }
    let lines: serde_json::Result<Vec<String>> = counts.iter().map(|one| serde_json::to_string(&one)).collect();
    let mut file = OpenOptions::new()
        .append(true)
        .open(path)
        .context("cannot note the requests")?;
    writeln!(file, "{}", lines?.join("\n"))?;
    Ok(())
}

/// Empties the file of this test target, beside those of the others.
pub(super) fn begin() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this executable")?;
    let dir = own.parent().unwrap_or(&own).join("metallb-lab-requests");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let name = own.file_stem().unwrap_or_default().to_string_lossy();
    // `e2e-0123456789abcdef` → `e2e`
    let name = name.rsplit_once('-').map_or(&*name, |(name, _)| name);
    let path = dir.join(format!("{name}.jsonl"));
    fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Says how many requests the tests of this target saw.
pub(super) fn report(log: &Path) -> Result<()> {
    let own = noted(log)?;
    let refused = own.iter().filter(|(request, _)| request.code == 403);
    let count = |requests: &mut dyn Iterator<Item = &(Request, usize)>| requests.map(|(_, count)| count).sum::<usize>();
    if !own.is_empty() {
        println!(
            "\nRBAC: {} requests by the product's service accounts, {} refused",
            count(&mut own.iter()),
            count(&mut refused.into_iter())
        );
    }
    Ok(())
}

/// Fails when the tests of this target used not all rights, and there is no reason why; says which and why.
pub(super) fn prove(log: &Path) -> Result<()> {
    let requests: Vec<Request> = noted(log)?.into_iter().map(|(request, _)| request).collect();
    let without_reason = unused::tell(&unused::unused(OPERATOR, &requests)?);
    ensure!(
        without_reason == 0,
        "{without_reason} granted rights were not used, and there is no reason for them: take them away, or name it"
    );
    println!("every other right that is granted was used");
    Ok(())
}

fn noted(log: &Path) -> Result<Vec<(Request, usize)>> {
    let text = fs::read_to_string(log).context("cannot read the noted requests")?;
    let lines = text.lines().filter(|line| !line.is_empty()).map(serde_json::from_str);
    Ok(lines.collect::<serde_json::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_of_the_product_fails_the_test() {
        let dir = tempfile::tempdir().unwrap();
        judge(dir.path()).unwrap();
        let line = |account: &str| {
            format!(
                r#"{{"stage":"ResponseComplete","requestURI":"/api/v1/pods","verb":"list","user":{{"username":"system:serviceaccount:{account}"}},"objectRef":{{"resource":"pods"}},"responseStatus":{{"code":403}}}}"#
            ) + "\n"
        };
        let log = audit_log(dir.path());
        fs::create_dir(log.parent().unwrap()).unwrap();
        fs::write(&log, line("default:somebody")).unwrap();
        judge(dir.path()).unwrap();
        fs::write(&log, line("metallb-system:speaker")).unwrap();
        let refused = judge(dir.path()).unwrap_err().to_string();
        assert!(
            refused.contains("metallb-system/speaker: list pods at /api/v1/pods"),
            "{refused}"
        );
    }
}
