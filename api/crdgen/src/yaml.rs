//! Kubernetes objects as YAML.

use serde::Serialize;
use serde_json::Value;

/// Writes objects as one stream of YAML documents, as `kubectl apply -f` takes it.
///
/// # Errors
/// An object cannot be serialised.
pub fn documents<T: Serialize>(objects: &[T]) -> anyhow::Result<String> {
    let mut options = serde_saphyr::SerializerOptions::default();
    options.prefer_block_scalars = false;
    let mut text = String::new();
    for object in objects {
        let mut value = serde_json::to_value(object)?;
        whole_numbers(&mut value);
        text.push_str("---\n");
        serde_saphyr::to_fmt_writer_with_options(&mut text, &value, options.clone())?;
    }
    Ok(text)
}

/// Writes bounds such as `1.0` as `1`: the API types hold them as floating-point numbers.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0) {
                *number = serde_json::Number::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}
