//! JSON merge patch (RFC 7396) and the precondition `If-Match` (RFC 9110 13.1.1).

use serde_json::Value;

use super::problem::{MALFORMED, Problem};

/// Merges a patch into a document: members replace, `null` removes, objects merge.
#[must_use]
pub fn merge_patch(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut object = match target {
        Value::Object(object) => object,
        _ => serde_json::Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            object.remove(name);
        } else {
            let before = object.remove(name).unwrap_or_default();
            object.insert(name.clone(), merge_patch(before, value));
        }
    }
    Value::Object(object)
}

/// The version in `If-Match: "7"`.
///
/// # Errors
/// A problem `malformed` when it is no version of ours.
pub fn version_of(if_match: Option<&str>) -> Result<Option<i32>, Problem> {
    match if_match.map(str::trim) {
        None | Some("*") => Ok(None),
        Some(text) => {
            let version = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
            version.map(Some).ok_or_else(|| MALFORMED.because("If-Match is a version in quotes, like \"7\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7396, appendix A, as far as they differ.
    #[test]
    fn patches_merge_as_the_rfc_says() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
            (json!(["a", "b"]), json!({"a": "b"}), json!({"a": "b"})),
        ] {
            assert_eq!(merge_patch(target, &patch), result);
        }
    }
}
