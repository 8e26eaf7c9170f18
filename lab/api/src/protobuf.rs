//! Decoding the few objects that `kubectl create` sends as protobuf.
//!
//! Since 1.32 its typed clients write built-in kinds that way and do not fall back to JSON. Only what `kubectl` itself can fill is
//! known here; anything else is refused by name rather than lost. Answers are always JSON, which those clients accept.
//!
//! ```text
//! "k8s\0" | runtime.Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw bytes of the object }
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

/// How a field is encoded.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// Zero means absent.
    Int,
    /// Present even if zero, because it is a pointer in Go.
    Pointer,
    Bool,
    Time,
    IntOrText,
    Message(&'static [Field]),
    TextMap,
    BytesMap,
    /// Known and of no use here.
    Ignored,
}

use Kind::{Bool, BytesMap, Ignored, Int, IntOrText, Message, Pointer, Text, TextMap, Time};

/// Number, JSON name, encoding, repeated.
struct Field(u32, &'static str, Kind, bool);

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field(number, name, kind, false)
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field(number, name, kind, true)
}

const METADATA: &[Field] = &[
    one(1, "name", Text),
    one(2, "generateName", Text),
    one(3, "namespace", Text),
    one(4, "selfLink", Text),
    one(5, "uid", Text),
    one(6, "resourceVersion", Text),
    one(7, "generation", Int),
    one(8, "creationTimestamp", Time),
    one(9, "deletionTimestamp", Time),
    one(10, "deletionGracePeriodSeconds", Pointer),
    one(11, "labels", TextMap),
    one(12, "annotations", TextMap),
    many(14, "finalizers", Text),
];

const NAMESPACE: &[Field] = &[
    one(1, "metadata", Message(METADATA)),
    one(2, "spec", Ignored),
    one(3, "status", Ignored),
];

const SECRET: &[Field] = &[
    one(1, "metadata", Message(METADATA)),
    one(2, "data", BytesMap),
    one(3, "type", Text),
    one(4, "stringData", TextMap),
    one(5, "immutable", Bool),
];

const CONFIG_MAP: &[Field] = &[
    one(1, "metadata", Message(METADATA)),
    one(2, "data", TextMap),
    one(3, "binaryData", BytesMap),
    one(4, "immutable", Bool),
];

const SERVICE_ACCOUNT: &[Field] = &[
    one(1, "metadata", Message(METADATA)),
    one(4, "automountServiceAccountToken", Bool),
];

const SERVICE_PORT: &[Field] = &[
    one(1, "name", Text),
    one(2, "protocol", Text),
    one(3, "port", Int),
    one(4, "targetPort", IntOrText),
    one(5, "nodePort", Int),
    one(6, "appProtocol", Text),
];

const SERVICE_SPEC: &[Field] = &[
    many(1, "ports", Message(SERVICE_PORT)),
    one(2, "selector", TextMap),
    one(3, "clusterIP", Text),
    one(4, "type", Text),
    many(5, "externalIPs", Text),
    one(7, "sessionAffinity", Text),
    one(8, "loadBalancerIP", Text),
    many(9, "loadBalancerSourceRanges", Text),
    one(10, "externalName", Text),
    one(11, "externalTrafficPolicy", Text),
    one(12, "healthCheckNodePort", Int),
    one(13, "publishNotReadyAddresses", Bool),
    one(17, "ipFamilyPolicy", Text),
    many(18, "clusterIPs", Text),
    many(19, "ipFamilies", Text),
    one(20, "allocateLoadBalancerNodePorts", Bool),
    one(21, "loadBalancerClass", Text),
    one(22, "internalTrafficPolicy", Text),
];

const SERVICE: &[Field] = &[
    one(1, "metadata", Message(METADATA)),
    one(2, "spec", Message(SERVICE_SPEC)),
    one(3, "status", Ignored),
];

const CONTAINER_PORT: &[Field] = &[
    one(1, "name", Text),
    one(2, "hostPort", Int),
    one(3, "containerPort", Int),
    one(4, "protocol", Text),
    one(5, "hostIP", Text),
];

const ENV: &[Field] = &[one(1, "name", Text), one(2, "value", Text)];

const CONTAINER: &[Field] = &[
    one(1, "name", Text),
    one(2, "image", Text),
    many(3, "command", Text),
    many(4, "args", Text),
    one(5, "workingDir", Text),
    many(6, "ports", Message(CONTAINER_PORT)),
    many(7, "env", Message(ENV)),
    one(8, "resources", Message(&[])),
    one(13, "terminationMessagePath", Text),
    one(14, "imagePullPolicy", Text),
    one(16, "stdin", Bool),
    one(17, "stdinOnce", Bool),
    one(18, "tty", Bool),
    one(20, "terminationMessagePolicy", Text),
];

const POD_SPEC: &[Field] = &[
    many(2, "containers", Message(CONTAINER)),
    one(3, "restartPolicy", Text),
    one(4, "terminationGracePeriodSeconds", Pointer),
    one(6, "dnsPolicy", Text),
    one(7, "nodeSelector", TextMap),
    one(8, "serviceAccountName", Text),
    one(9, "serviceAccount", Text),
    one(10, "nodeName", Text),
    one(11, "hostNetwork", Bool),
    one(12, "hostPID", Bool),
    one(13, "hostIPC", Bool),
    one(16, "hostname", Text),
    one(17, "subdomain", Text),
    one(19, "schedulerName", Text),
    one(24, "priorityClassName", Text),
];

const LABEL_SELECTOR: &[Field] = &[one(1, "matchLabels", TextMap)];

const DEPLOYMENT_SPEC: &[Field] = &[
    one(1, "replicas", Pointer),
    one(2, "selector", Message(LABEL_SELECTOR)),
    one(
        3,
        "template",
        Message(&[one(1, "metadata", Message(METADATA)), one(2, "spec", Message(POD_SPEC))]),
    ),
    one(4, "strategy", Message(&[one(1, "type", Text)])),
    one(5, "minReadySeconds", Int),
    one(6, "revisionHistoryLimit", Pointer),
    one(7, "paused", Bool),
    one(9, "progressDeadlineSeconds", Pointer),
];

const DEPLOYMENT: &[Field] = &[
    one(1, "metadata", Message(METADATA)),
    one(2, "spec", Message(DEPLOYMENT_SPEC)),
    one(3, "status", Ignored),
];

const TOKEN_REQUEST: &[Field] = &[
    one(1, "metadata", Message(METADATA)),
    one(
        2,
        "spec",
        Message(&[
            many(1, "audiences", Text),
            one(4, "expirationSeconds", Pointer),
            one(3, "boundObjectRef", Ignored),
        ]),
    ),
    one(3, "status", Ignored),
];

/// What is asked does not matter: everything is allowed.
const QUESTION: &[Field] = &[
    one(1, "metadata", Ignored),
    one(2, "spec", Ignored),
    one(3, "status", Ignored),
];

const DELETE_OPTIONS: &[Field] = &[
    one(1, "gracePeriodSeconds", Pointer),
    one(
        2,
        "preconditions",
        Message(&[one(1, "uid", Text), one(2, "resourceVersion", Text)]),
    ),
    one(3, "orphanDependents", Bool),
    one(4, "propagationPolicy", Text),
    many(5, "dryRun", Text),
];

const EVICTION: &[Field] = &[
    one(1, "metadata", Message(METADATA)),
    one(2, "deleteOptions", Message(DELETE_OPTIONS)),
];

const INT_OR_TEXT: &[Field] = &[one(1, "type", Int), one(2, "number", Pointer), one(3, "text", Text)];

fn message(kind: &str) -> Option<&'static [Field]> {
    Some(match kind {
        "Namespace" => NAMESPACE,
        "Secret" => SECRET,
        "ConfigMap" => CONFIG_MAP,
        "ServiceAccount" => SERVICE_ACCOUNT,
        "Service" => SERVICE,
        "Deployment" => DEPLOYMENT,
        "TokenRequest" => TOKEN_REQUEST,
        "SelfSubjectAccessReview" | "SelfSubjectRulesReview" | "SelfSubjectReview" => QUESTION,
        "DeleteOptions" => DELETE_OPTIONS,
        "Eviction" => EVICTION,
        _ => return None,
    })
}

/// Decodes a body of type `application/vnd.kubernetes.protobuf`.
///
/// # Errors
/// A text that says what is not understood.
pub(crate) fn decode(body: &[u8]) -> Result<Value, String> {
    const ENVELOPE: &[Field] = &[
        one(1, "type", Message(&[one(1, "apiVersion", Text), one(2, "kind", Text)])),
        one(3, "contentEncoding", Text),
        one(4, "contentType", Text),
    ];
    let body = body
        .strip_prefix(b"k8s\0")
        .ok_or("the body is no Kubernetes protobuf")?;
    let mut raw: &[u8] = &[];
    let mut envelope = Map::new();
    let mut rest = body;
    while !rest.is_empty() {
        match next(&mut rest)? {
            (2, Wire::Bytes(bytes)) => raw = bytes,
            (number, wire) => put(&mut envelope, ENVELOPE, "the envelope", number, wire)?,
        }
    }
    let envelope = Value::Object(envelope);
    let text = |name: &str| envelope["type"][name].as_str().unwrap_or("").to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let fields = message(&kind).ok_or_else(|| format!("kind {kind} is not understood in protobuf, send JSON"))?;
    let mut object = json!({"apiVersion": api_version, "kind": kind});
    if let (Value::Object(all), Value::Object(decoded)) = (&mut object, decode_message(raw, fields, &kind)?) {
        all.extend(decoded);
    }
    Ok(object)
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first().ok_or("protobuf ends early")?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a protobuf number is too long".to_owned())
}

fn next<'a>(rest: &mut &'a [u8]) -> Result<(u32, Wire<'a>), String> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).map_err(|_| "a protobuf field number is too large")?;
    match tag & 7 {
        0 => Ok((number, Wire::Number(varint(rest)?))),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| "a protobuf length is too large")?;
            let bytes: &'a [u8] = rest;
            let (field, tail) = bytes.split_at_checked(length).ok_or("protobuf ends early")?;
            *rest = tail;
            Ok((number, Wire::Bytes(field)))
        }
        other => Err(format!("protobuf wire type {other} is not used by Kubernetes")),
    }
}

fn decode_message(mut bytes: &[u8], fields: &'static [Field], path: &str) -> Result<Value, String> {
    let mut object = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = next(&mut bytes)?;
        put(&mut object, fields, path, number, wire)?;
    }
    Ok(Value::Object(object))
}

fn put(
    object: &mut Map<String, Value>,
    fields: &'static [Field],
    path: &str,
    number: u32,
    wire: Wire<'_>,
) -> Result<(), String> {
    let field = fields.iter().find(|f| f.0 == number);
    let Some(Field(_, name, kind, repeated)) = field else {
        return Err(format!(
            "protobuf field {number} of {path} is not understood, send JSON"
        ));
    };
    let here = format!("{path}.{name}");
    let value = match (kind, wire) {
        (Ignored, _) => return Ok(()),
        (Text, Wire::Bytes(bytes)) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            if text.is_empty() && !repeated {
                return Ok(());
            }
            text.into()
        }
        (Int, Wire::Number(0)) => return Ok(()),
        (Int | Pointer, Wire::Number(number)) => number.cast_signed().into(),
        (Bool, Wire::Number(number)) => (number != 0).into(),
        // Times of objects that are to be created are empty; the server sets its own.
        (Time, Wire::Bytes(_)) => return Ok(()),
        (Message(inner), Wire::Bytes(bytes)) => decode_message(bytes, inner, &here)?,
        (IntOrText, Wire::Bytes(bytes)) => {
            let parts = decode_message(bytes, INT_OR_TEXT, &here)?;
            if parts["type"] == 1 {
                parts["text"].clone()
            } else {
                parts["number"].clone()
            }
        }
        (TextMap | BytesMap, Wire::Bytes(bytes)) => {
            let (key, value) = entry(bytes)?;
            let value = if matches!(kind, BytesMap) {
                BASE64.encode(value)
            } else {
                String::from_utf8_lossy(value).into_owned()
            };
            object.entry(*name).or_insert_with(|| json!({}))[key] = value.into();
            return Ok(());
        }
        _ => return Err(format!("protobuf field {here} has the wrong type")),
    };
    if *repeated {
        if let Value::Array(list) = object.entry(*name).or_insert_with(|| json!([])) {
            list.push(value);
        }
    } else {
        object.insert((*name).to_owned(), value);
    }
    Ok(())
}

fn entry(mut bytes: &[u8]) -> Result<(String, &[u8]), String> {
    let (mut key, mut value): (String, &[u8]) = (String::new(), &[]);
    while !bytes.is_empty() {
        match next(&mut bytes)? {
            (1, Wire::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
            (2, Wire::Bytes(content)) => value = content,
            _ => return Err("a protobuf map entry has an unknown field".to_owned()),
        }
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn envelope(kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), field(1, &types), field(2, raw), field(3, b"")].concat()
    }

    #[test]
    fn a_secret_is_decoded_and_empty_fields_are_left_out() {
        let metadata = [field(1, b"a"), field(2, b""), field(8, b"")].concat();
        let raw = [
            field(1, &metadata),
            field(2, &[field(1, b"k"), field(2, b"x")].concat()),
        ]
        .concat();
        assert_eq!(
            decode(&envelope("Secret", &raw)).unwrap(),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "eA=="}})
        );
    }

    #[test]
    fn what_is_not_understood_is_named_and_damage_is_no_panic() {
        let raw = field(15, b"x");
        assert_eq!(
            decode(&envelope("Secret", &raw)).unwrap_err(),
            "protobuf field 15 of Secret is not understood, send JSON"
        );
        assert!(decode(&envelope("Pod", &[])).unwrap_err().contains("kind Pod"));
        let whole = envelope("Secret", &field(1, &field(1, b"a")));
        for end in 0..whole.len() {
            drop(decode(&whole[..end]));
        }
    }
}
