//! The product's rights, judged by what it asked a real API server for: nothing may be refused, and what is granted but
//! never used is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::ResourceExt;
use kube::api::DynamicObject;

use crate::apply;
use crate::envtest::audit::{self, Request};
use crate::envtest::audit_log;
use crate::products;
use crate::steps::{NAMESPACE, OPERATOR};

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
        qualified(&request.group, &request.resource),
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
    let (target, _) = products::target_folder()?;
    let dir = target.join("metallb-lab-requests");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let own = std::env::current_exe().context("cannot find this executable")?;
    let name = own.file_stem().unwrap_or_default().to_string_lossy();
    // `e2e-0123456789abcdef` → `e2e`
    let name = name.rsplit_once('-').map_or(&*name, |(name, _)| name);
    let path = dir.join(format!("{name}.jsonl"));
    fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Says how many requests the tests of this target saw, and, after a `whole` run, which granted rights nobody used in
/// the last runs of all targets.
pub(super) fn report(log: &Path, whole: bool) -> Result<()> {
    let own = noted(log)?;
    if own.is_empty() {
        return Ok(());
    }
    let count = |wanted: fn(u16) -> bool| {
        own.iter()
            .filter(|(r, _)| wanted(r.code))
            .map(|(_, n)| n)
            .sum::<usize>()
    };
    println!(
        "\nRBAC: {} requests by the product's service accounts, {} refused",
        count(|_| true),
        count(|code| code == 403)
    );
    if !whole {
        return Ok(());
    }
    let mut requests = Vec::new();
    for entry in fs::read_dir(log.parent().unwrap_or(log))? {
        requests.extend(noted(&entry?.path())?.into_iter().map(|(request, _)| request));
    }
    let unused = unused(OPERATOR, &requests)?;
    if unused.is_empty() {
        println!("every granted right was used");
    }
    for (role, rights) in unused {
        println!("not used of {role}: {}", rights.join("; "));
    }
    Ok(())
}

fn noted(log: &Path) -> Result<Vec<(Request, usize)>> {
    let text = fs::read_to_string(log).context("cannot read the noted requests")?;
    let lines = text.lines().filter(|line| !line.is_empty()).map(serde_json::from_str);
    Ok(lines.collect::<serde_json::Result<_>>()?)
}

/// The rights in the roles of `manifest` by which no request was allowed, by role.
fn unused(manifest: &str, requests: &[Request]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut unused = BTreeMap::new();
    for object in apply::parse(manifest)? {
        let kind = object.types.as_ref().map_or("", |types| &types.kind);
        if !matches!(kind, "Role" | "ClusterRole") {
            continue;
        }
        let role = format!("{kind} {:?}", object.name_any());
        let by_it: Vec<&Request> = requests.iter().filter(|request| allowed_by(request, &role)).collect();
        let rights: Vec<String> = rules(&object)?.iter().flat_map(|rule| idle(rule, &by_it)).collect();
        if !rights.is_empty() {
            unused.insert(role, rights);
        }
    }
    Ok(unused)
}

fn rules(role: &DynamicObject) -> Result<Vec<PolicyRule>> {
    let rules = role.data.get("rules").cloned().unwrap_or_default();
    serde_json::from_value(rules).with_context(|| format!("the rules of {} are no rules", role.name_any()))
}

/// The API server says why: `RBAC: allowed by RoleBinding "x/y" of Role "x" to ServiceAccount "a/y"`.
fn allowed_by(request: &Request, role: &str) -> bool {
    request.reason.contains(&format!(" of {role} to "))
}

/// What of a rule no request needed.
fn idle(rule: &PolicyRule, requests: &[&Request]) -> Vec<String> {
    let groups = rule.api_groups.iter().flatten();
    let pairs = groups.flat_map(|group| rule.resources.iter().flatten().map(move |resource| (group, resource)));
    let idle = pairs.filter_map(|(group, resource)| {
        let needed = |verb: &&String| {
            requests.iter().any(|request| {
                needs(request, verb) && &request.group == group && &request.resource == resource && names(rule, request)
            })
        };
        let verbs: Vec<&str> = rule
            .verbs
            .iter()
            .filter(|verb| !needed(verb))
            .map(String::as_str)
            .collect();
        (!verbs.is_empty()).then(|| format!("{} {}", verbs.join(","), qualified(group, resource)))
    });
    idle.collect()
}

/// An apply that makes the object needs the right to create it, too.
fn needs(request: &Request, verb: &str) -> bool {
    request.verb == verb || (verb == "create" && request.verb == "patch" && request.code == 201)
}

fn names(rule: &PolicyRule, request: &Request) -> bool {
    let names = rule.resource_names.iter().flatten();
    names.clone().count() == 0 || names.clone().any(|name| *name == request.name)
}

fn qualified(group: &str, resource: &str) -> String {
    match group {
        "" => resource.to_owned(),
        _ => format!("{resource}.{group}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: speaker}
rules:
- {apiGroups: [''], resources: [pods, secrets], verbs: [get, list]}
- {apiGroups: [''], resources: [events, nodes], verbs: [create, patch]}
- {apiGroups: [apps], resources: [deployments], verbs: [get], resourceNames: [controller]}
";

    fn request(verb: &str, group: &str, resource: &str, name: &str) -> Request {
        Request {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            name: name.into(),
            reason: "RBAC: allowed by RoleBinding \"s/n\" of Role \"speaker\" to ServiceAccount \"s/n\"".into(),
            ..Request::default()
        }
    }

    #[test]
    fn rights_that_nobody_used_are_told_by_role() {
        let requests = [
            request("get", "", "pods", "a"),
            request("list", "", "pods", ""),
            request("list", "", "secrets", ""),
            Request {
                code: 201,
                ..request("patch", "", "events", "made")
            },
            request("patch", "", "nodes", "changed"),
            request("get", "apps", "deployments", "another"),
        ];
        let unused = unused(ROLE, &requests).unwrap();
        assert_eq!(
            unused["Role \"speaker\""],
            ["get secrets", "create nodes", "get deployments.apps"]
        );
    }

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
