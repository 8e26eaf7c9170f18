//! Tables for `kubectl get`.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::call::Call;
use crate::meta;
use crate::resource::Column;

/// A table with a row for each object.
pub(crate) fn table(call: &Call, objects: &[&Value], metadata: &Value) -> Value {
    let Some((names, cells)) = builtin(&call.resource.group, &call.resource.kind) else {
        let columns = call.resource.version(&call.version).map_or(&[][..], |v| &v.columns);
        return rows(&custom_columns(columns), objects, metadata, |object| {
            custom_cells(columns, object)
        });
    };
    let names: Vec<(String, &str, i64)> = names.iter().map(|name| head(name)).collect();
    rows(&names, objects, metadata, cells)
}

type Cells = fn(&Value) -> Vec<Value>;

/// A name that starts with `+` is shown with `-o wide` only.
fn head(name: &str) -> (String, &'static str, i64) {
    let kind = if matches!(name, "Restarts" | "Desired" | "Current") {
        "integer"
    } else {
        "string"
    };
    (
        name.trim_start_matches('+').to_owned(),
        kind,
        i64::from(name.starts_with('+')),
    )
}

fn rows(
    columns: &[(String, &str, i64)],
    objects: &[&Value],
    metadata: &Value,
    cells: impl Fn(&Value) -> Vec<Value>,
) -> Value {
    let definitions: Vec<Value> = columns
        .iter()
        .map(|(name, kind, priority)| {
            let format = if name == "Name" { "name" } else { "" };
            json!({"name": name, "type": kind, "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
            json!({"cells": cells(object), "object": partial})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions, "rows": rows})
}

fn custom_columns(columns: &[Column]) -> Vec<(String, &str, i64)> {
    let mut list = vec![("Name".to_owned(), "string", 0)];
    if columns.is_empty() {
        list.push(("Age".to_owned(), "string", 0));
    }
    // Dates are sent as ages, so their column is text.
    list.extend(columns.iter().map(|c| {
        (
            c.name.clone(),
            if c.kind == "date" { "string" } else { c.kind.as_str() },
            c.priority,
        )
    }));
    list
}

fn custom_cells(columns: &[Column], object: &Value) -> Vec<Value> {
    let mut cells = vec![object["metadata"]["name"].clone()];
    if columns.is_empty() {
        cells.push(age(object));
    }
    cells.extend(columns.iter().map(|column| {
        let value = find(object, &column.path);
        match column.kind.as_str() {
            "date" => value.and_then(Value::as_str).map_or(Value::Null, since),
            "string" => value.map_or(Value::Null, |v| {
                v.as_str().map_or_else(|| v.to_string().into(), Into::into)
            }),
            _ => value.cloned().unwrap_or_default(),
        }
    }));
    cells
}

/// The simple JSON paths of printer columns: `.a.b`, `.a\.b`, `.list[0].x`, `.list[?(@.type=="Ready")].status`.
fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = object;
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, tail) = inner.split_once(']')?;
            value = match index
                .strip_prefix("?(@.")
                .and_then(|f| f.strip_suffix(')'))
                .and_then(|f| f.split_once("=="))
            {
                Some((name, wanted)) => meta::array(value)
                    .iter()
                    .find(|v| v[name.trim()] == wanted.trim().trim_matches(['"', '\'']))?,
                None if index == "*" => value,
                None => value.get(index.parse::<usize>().ok()?)?,
            };
            rest = tail;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let mut name = String::new();
            let mut chars = rest.char_indices();
            let mut end = rest.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' => name.extend(chars.next().map(|(_, c)| c)),
                    '.' | '[' => {
                        end = at;
                        break;
                    }
                    c => name.push(c),
                }
            }
            value = value.get(&name)?;
            rest = &rest[end..];
        }
    }
    Some(value)
}

fn since(time: &str) -> Value {
    let Ok(time) = time.parse::<Timestamp>() else {
        return "<unknown>".into();
    };
    human(Timestamp::now().duration_since(time)).into()
}

fn age(object: &Value) -> Value {
    since(meta::text(object, "/metadata/creationTimestamp"))
}

/// A duration as `kubectl` writes ages.
fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 && seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 && minutes % 60 > 0 => format!("{hours}h{}m", minutes % 60),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 && hours % 24 > 0 => format!("{days}d{}h", hours % 24),
        () => format!("{days}d"),
    }
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

fn count(value: &Value) -> Value {
    value
        .as_array()
        .map(Vec::len)
        .or_else(|| value.as_object().map(serde_json::Map::len))
        .unwrap_or(0)
        .into()
}

fn labels(value: &Value) -> Value {
    let pairs: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or("")))
        .collect();
    or_none(&pairs.join(","))
}

/// Columns of a built-in kind; custom resources have their own.
fn builtin(group: &str, kind: &str) -> Option<(&'static [&'static str], Cells)> {
    Some(match (group, kind) {
        ("", "Namespace") => (&["Name", "Status", "Age"], |o| {
            vec![o["metadata"]["name"].clone(), o["status"]["phase"].clone(), age(o)]
        }),
        ("", "Pod") => (&["Name", "Ready", "Status", "Restarts", "Age", "+IP", "+Node"], pod),
        ("", "Service") => (
            &[
                "Name",
                "Type",
                "Cluster-IP",
                "External-IP",
                "Port(s)",
                "Age",
                "+Selector",
            ],
            service,
        ),
        ("", "Node") => (&["Name", "Status", "Roles", "Age", "Version", "+Internal-IP"], node),
        ("", "Secret") => (&["Name", "Type", "Data", "Age"], |o| {
            vec![
                o["metadata"]["name"].clone(),
                o["type"].clone(),
                count(&o["data"]),
                age(o),
            ]
        }),
        ("", "ConfigMap") => (&["Name", "Data", "Age"], |o| {
            vec![o["metadata"]["name"].clone(), count(&o["data"]), age(o)]
        }),
        ("" | "events.k8s.io", "Event") => (&["Last Seen", "Type", "Reason", "Object", "Message"], event),
        ("apps", "Deployment") => (
            &[
                "Name",
                "Ready",
                "Up-to-date",
                "Available",
                "Age",
                "+Containers",
                "+Images",
            ],
            deployment,
        ),
        ("apps", "DaemonSet") => (
            &[
                "Name",
                "Desired",
                "Current",
                "Ready",
                "Up-to-date",
                "Available",
                "Node Selector",
                "Age",
            ],
            daemon_set,
        ),
        ("apps", "ReplicaSet") => (&["Name", "Desired", "Current", "Ready", "Age"], |o| {
            let n = |v: &Value| v.as_i64().unwrap_or(0).into();
            vec![
                o["metadata"]["name"].clone(),
                n(&o["spec"]["replicas"]),
                n(&o["status"]["replicas"]),
                n(&o["status"]["readyReplicas"]),
                age(o),
            ]
        }),
        ("discovery.k8s.io", "EndpointSlice") => {
            (&["Name", "AddressType", "Ports", "Endpoints", "Age"], endpoint_slice)
        }
        ("coordination.k8s.io", "Lease") => (&["Name", "Holder", "Age"], |o| {
            vec![
                o["metadata"]["name"].clone(),
                o["spec"]["holderIdentity"].clone(),
                age(o),
            ]
        }),
        ("apiextensions.k8s.io", _) => (&["Name", "Created At"], |o| {
            vec![
                o["metadata"]["name"].clone(),
                o["metadata"]["creationTimestamp"].clone(),
            ]
        }),
        ("admissionregistration.k8s.io", _) => (&["Name", "Webhooks", "Age"], |o| {
            vec![o["metadata"]["name"].clone(), count(&o["webhooks"]), age(o)]
        }),
        _ => return None,
    })
}

fn pod(o: &Value) -> Vec<Value> {
    let statuses = meta::array(&o["status"]["containerStatuses"]);
    let ready = statuses.iter().filter(|s| s["ready"] == true).count();
    let restarts: i64 = statuses.iter().filter_map(|s| s["restartCount"].as_i64()).sum();
    let waiting = |s: &Value| {
        let reason = s["state"]["waiting"]["reason"]
            .as_str()
            .or_else(|| s["state"]["terminated"]["reason"].as_str());
        reason.map(str::to_owned)
    };
    let status = if meta::is_deleting(o) {
        "Terminating".to_owned()
    } else {
        statuses
            .iter()
            .find_map(waiting)
            .unwrap_or_else(|| meta::text(o, "/status/phase").to_owned())
    };
    vec![
        o["metadata"]["name"].clone(),
        format!("{ready}/{}", meta::array(&o["spec"]["containers"]).len()).into(),
        status.into(),
        restarts.into(),
        age(o),
        or_none(meta::text(o, "/status/podIP")),
        or_none(meta::text(o, "/spec/nodeName")),
    ]
}

fn service(o: &Value) -> Vec<Value> {
    let spec = &o["spec"];
    let kind = meta::text(spec, "/type");
    let ingress = meta::array(&o["status"]["loadBalancer"]["ingress"]).iter();
    let mut external: Vec<&str> = ingress
        .filter_map(|i| i["ip"].as_str().or_else(|| i["hostname"].as_str()))
        .collect();
    external.extend(meta::strings(&spec["externalIPs"]));
    let external = match (kind, external.is_empty()) {
        ("ExternalName", _) => meta::text(spec, "/externalName").to_owned(),
        (_, false) => external.join(","),
        ("LoadBalancer", true) => "<pending>".to_owned(),
        _ => "<none>".to_owned(),
    };
    let port = |p: &Value| {
        let protocol = meta::text(p, "/protocol");
        p["nodePort"].as_u64().map_or_else(
            || format!("{}/{protocol}", p["port"]),
            |n| format!("{}:{n}/{protocol}", p["port"]),
        )
    };
    let ports: Vec<String> = meta::array(&spec["ports"]).iter().map(port).collect();
    let cluster_ip = or_none(meta::text(spec, "/clusterIP"));
    vec![
        o["metadata"]["name"].clone(),
        kind.into(),
        cluster_ip,
        external.into(),
        or_none(&ports.join(",")),
        age(o),
        labels(&spec["selector"]),
    ]
}

fn node(o: &Value) -> Vec<Value> {
    let ready = meta::array(&o["status"]["conditions"])
        .iter()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    let mut status = if ready { "Ready" } else { "NotReady" }.to_owned();
    if o["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let prefix = "node-role.kubernetes.io/";
    let names = o["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: Vec<&str> = names.filter_map(|(k, _)| k.strip_prefix(prefix)).collect();
    let address = meta::array(&o["status"]["addresses"])
        .iter()
        .find(|a| a["type"] == "InternalIP");
    vec![
        o["metadata"]["name"].clone(),
        status.into(),
        or_none(&roles.join(",")),
        age(o),
        o["status"]["nodeInfo"]["kubeletVersion"].clone(),
        or_none(address.map_or("", |a| meta::text(a, "/address"))),
    ]
}

fn event(o: &Value) -> Vec<Value> {
    let newer = o.get("regarding").is_some();
    let (object, message) = if newer {
        (&o["regarding"], &o["note"])
    } else {
        (&o["involvedObject"], &o["message"])
    };
    let times = [
        &o["series"]["lastObservedTime"],
        &o["lastTimestamp"],
        &o["deprecatedLastTimestamp"],
        &o["eventTime"],
        &o["metadata"]["creationTimestamp"],
    ];
    let seen = times.into_iter().find_map(Value::as_str).unwrap_or("");
    let target = format!(
        "{}/{}",
        meta::text(object, "/kind").to_lowercase(),
        meta::text(object, "/name")
    );
    vec![
        since(seen),
        o["type"].clone(),
        o["reason"].clone(),
        target.into(),
        message.clone(),
    ]
}

fn deployment(o: &Value) -> Vec<Value> {
    let number = |name: &str| o["status"][name].as_i64().unwrap_or(0);
    let containers = meta::array(&o["spec"]["template"]["spec"]["containers"]);
    let list = |name: &str| {
        containers
            .iter()
            .filter_map(|c| c[name].as_str())
            .collect::<Vec<_>>()
            .join(",")
    };
    let ready = format!(
        "{}/{}",
        number("readyReplicas"),
        o["spec"]["replicas"].as_i64().unwrap_or(0)
    );
    vec![
        o["metadata"]["name"].clone(),
        ready.into(),
        number("updatedReplicas").into(),
        number("availableReplicas").into(),
        age(o),
        list("name").into(),
        list("image").into(),
    ]
}

fn daemon_set(o: &Value) -> Vec<Value> {
    let number = |name: &str| -> Value { o["status"][name].as_i64().unwrap_or(0).into() };
    vec![
        o["metadata"]["name"].clone(),
        number("desiredNumberScheduled"),
        number("currentNumberScheduled"),
        number("numberReady"),
        number("updatedNumberScheduled"),
        number("numberAvailable"),
        labels(&o["spec"]["template"]["spec"]["nodeSelector"]),
        age(o),
    ]
}

fn endpoint_slice(o: &Value) -> Vec<Value> {
    let ports: Vec<String> = meta::array(&o["ports"]).iter().map(|p| p["port"].to_string()).collect();
    let endpoints: Vec<&str> = meta::array(&o["endpoints"])
        .iter()
        .flat_map(|e| meta::strings(&e["addresses"]))
        .collect();
    vec![
        o["metadata"]["name"].clone(),
        o["addressType"].clone(),
        or_none(&ports.join(",")),
        or_none(&endpoints.join(",")),
        age(o),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printer_columns_reach_lists_and_escaped_names() {
        let object = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "metadata": {"labels": {"a.b/c": "x"}}});
        assert_eq!(
            find(&object, ".status.conditions[?(@.type==\"Ready\")].status"),
            Some(&json!("True"))
        );
        assert_eq!(find(&object, ".status.conditions[0].type"), Some(&json!("Ready")));
        assert_eq!(find(&object, ".metadata.labels.a\\.b/c"), Some(&json!("x")));
        assert_eq!(find(&object, ".spec.gone"), None);
    }

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        let text = |seconds: i64| human(SignedDuration::from_secs(seconds));
        assert_eq!(
            [text(5), text(150), text(1200), text(7 * 3600 + 60), text(3 * 86400)],
            ["5s", "2m30s", "20m", "7h1m", "3d"]
        );
    }
}
