//! Amounts as Kubernetes writes them: `100m`, `1.5Gi`, `1e3`.

use serde_json::Value;

/// Tells whether two amounts are equal; what is no amount equals nothing.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    nanos(a).is_some_and(|amount| nanos(b) == Some(amount))
}

/// The amount in thousand millionths, the finest that Kubernetes keeps.
fn nanos(amount: &Value) -> Option<i128> {
    let text = match amount {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-'));
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (twos, tens) = powers(suffix)?;
    let tens = tens.checked_add(9)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(2i128.checked_pow(twos)?)?;
    let power = 10i128.checked_pow(tens.unsigned_abs())?;
    match tens {
        0.. => scaled.checked_mul(power),
        _ => (scaled % power == 0).then_some(scaled / power),
    }
}

/// What a suffix multiplies by: powers of two and of ten.
fn powers(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_amount_has_many_texts() {
        // What is wanted, and what a kube-apiserver makes of it.
        for (wanted, stored) in [
            (json!("1000m"), "1"),
            (json!("0.1"), "100m"),
            (json!(2), "2"),
            (json!(0.5), "500m"),
            (json!("1024Mi"), "1Gi"),
            (json!("1.5Gi"), "1536Mi"),
            (json!("1e3"), "1k"),
            (json!("1E3"), "1k"),
            (json!("1000000n"), "1m"),
            (json!("5e-3"), "5m"),
            (json!("1Ei"), "1024Pi"),
        ] {
            assert!(same(&wanted, &stored.into()), "{wanted} {stored}");
        }
    }

    #[test]
    fn other_amounts_and_nonsense_differ() {
        for (a, b) in [
            ("1", "1m"),
            ("1M", "1Mi"),
            ("x", "x"),
            ("", "0"),
            ("1Qi", "1"),
            ("9e99", "9e99"),
            ("1e999999999999", "1"),
            ("1e2147483647", "1"),
            ("1.5e-2147483648", "1"),
            ("1.-1", "1"),
            ("é1", "1"),
        ] {
            assert!(!same(&a.into(), &b.into()), "{a} {b}");
        }
        assert!(!same(&Value::Null, &Value::Null));
    }
}
