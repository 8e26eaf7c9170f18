//! The namespace that the component lives in.

use std::path::Path;

use crate::client::SERVICE_ACCOUNT;

/// No source names the namespace.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell the namespace: no flag, no environment variable, and {path} is not legible")]
pub struct Error {
    path: String,
    #[source]
    source: std::io::Error,
}

/// Finds the namespace: `given` (flag, or the environment variable behind it) if not empty, else the service account's.
///
/// # Errors
/// When nothing was given and the file of the service account cannot be read.
pub fn discover(given: Option<&str>) -> Result<String, Error> {
    from(given, &Path::new(SERVICE_ACCOUNT).join("namespace"))
}

fn from(given: Option<&str>, file: &Path) -> Result<String, Error> {
    if let Some(name) = given.filter(|name| !name.is_empty()) {
        return Ok(name.to_owned());
    }
    let text = std::fs::read_to_string(file).map_err(|source| Error {
        path: file.display().to_string(),
        source,
    })?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_name_wins_over_the_file() {
        assert_eq!(from(Some("here"), Path::new("/nonexistent")).unwrap(), "here");
    }

    #[test]
    fn an_empty_name_is_no_name() {
        let file = std::env::temp_dir().join(format!("namespace-{}", std::process::id()));
        std::fs::write(&file, "metallb-system\n").unwrap();
        assert_eq!(from(Some(""), &file).unwrap(), "metallb-system");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn no_source_is_an_error_that_names_the_file() {
        assert!(
            from(None, Path::new("/nonexistent"))
                .unwrap_err()
                .to_string()
                .contains("/nonexistent")
        );
    }
}
