//! What an object of ours says about how it was wanted when it was applied.
//!
//! A field that was wanted once and is not any more looks like one that others have added. The mark tells them apart,
//! and it outlives the process: a new one need not apply everything again to be sure.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

const ANNOTATION: &str = "metallb.io/applied";

/// Bytes of the digest that are kept; nobody attacks it.
const LENGTH: usize = 8;

/// Marks what is wanted, and returns the mark.
pub(crate) fn put(wanted: &mut Value) -> String {
    let digest = Sha256::digest(wanted.to_string());
    let mut mark = String::with_capacity(2 * LENGTH);
    for byte in &digest[..LENGTH] {
        let _ = write!(mark, "{byte:02x}");
    }
    wanted["metadata"]["annotations"][ANNOTATION] = mark.clone().into();
    mark
}

/// Gives the mark of an object.
pub(crate) fn of(live: &Value) -> Option<&str> {
    live["metadata"]["annotations"][ANNOTATION].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn marked(mut wanted: Value) -> Value {
        put(&mut wanted);
        wanted
    }

    #[test]
    fn the_mark_tells_what_is_not_wanted_any_more() {
        let before = marked(json!({ "metadata": { "name": "x" }, "spec": { "a": 1, "b": 2 } }));
        let after = marked(json!({ "metadata": { "name": "x" }, "spec": { "a": 1 } }));
        assert_eq!(of(&before).map(str::len), Some(2 * LENGTH));
        assert_ne!(of(&before), of(&after));
        assert_eq!(
            after,
            marked(json!({ "metadata": { "name": "x" }, "spec": { "a": 1 } }))
        );
    }

    #[test]
    fn annotations_of_the_object_stay() {
        let wanted = marked(json!({ "metadata": { "annotations": { "a": "b" } } }));
        assert_eq!(wanted["metadata"]["annotations"]["a"], "b");
    }
}
