//! Image references.

use std::{fmt, str::FromStr};

/// A container image: `[registry[:port]/]path[:tag][@algorithm:digest]`.
///
/// Upstream splits at the last colon after the last slash, and so loses the digest of `path:tag@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Image {
    name: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image reference: {why}")]
pub struct ImageError {
    text: String,
    why: &'static str,
}

/// The FRR that upstream's newest chart names; the one place where its version is said.
const FRR: &str = "quay.io/frrouting/frr:10.5.3";

/// The frr-k8s that upstream's newest chart names.
const FRR_K8S: &str = "quay.io/metallb/frr-k8s:v0.0.25";

impl Image {
    /// FRR, where the environment names none.
    pub fn frr() -> Self {
        FRR.parse().expect("a constant reference")
    }

    /// frr-k8s, where the environment names none.
    pub fn frr_k8s() -> Self {
        FRR_K8S.parse().expect("a constant reference")
    }

    /// Gives the name with its registry, without tag and digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Gives the digest with its algorithm.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl FromStr for Image {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| {
            Err(ImageError {
                text: text.to_owned(),
                why,
            })
        };
        let (tagged, digest) = match text.split_once('@') {
            Some((tagged, digest)) => (tagged, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the port of the registry.
        let path = tagged.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match tagged[path..].find(':') {
            Some(colon) => (&tagged[..path + colon], Some(&tagged[path + colon + 1..])),
            None => (tagged, None),
        };
        if name.is_empty() || name.ends_with('/') || name.starts_with('/') {
            return refuse("it has no name");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return refuse("it has blanks");
        }
        if !tag.is_none_or(is_tag) {
            return refuse("the tag is malformed");
        }
        if !digest.is_none_or(is_digest) {
            return refuse("the digest is malformed");
        }
        Ok(Self {
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

fn is_tag(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=128).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, value)| {
        !algorithm.is_empty() && value.len() >= 32 && value.chars().all(|c| c.is_ascii_hexdigit())
    })
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    // OP-14
    #[test]
    fn references_are_written_as_they_were_read() {
        let texts = [
            "a",
            "a:1",
            "host:5000/a/b",
            "host:5000/a/b:v1.2_3-x",
            "quay.io/metallb/controller:v0.16.1",
        ];
        for text in texts {
            assert_eq!(text.parse::<Image>().unwrap().to_string(), text);
            let pinned = format!("{text}@{DIGEST}");
            assert_eq!(pinned.parse::<Image>().unwrap().to_string(), pinned);
        }
    }

    #[test]
    fn the_parts_are_told_apart() {
        let image: Image = format!("host:5000/a/b:v1@{DIGEST}").parse().unwrap();
        assert_eq!(
            (image.name(), image.tag(), image.digest()),
            ("host:5000/a/b", Some("v1"), Some(DIGEST))
        );
        let image: Image = "host:5000/a".parse().unwrap();
        assert_eq!((image.name(), image.tag()), ("host:5000/a", None));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            ":v1",
            "a:",
            "a/",
            "/a",
            "a b",
            "a:v 1",
            "a@sha256",
            "a@sha256:xyz",
            "a@",
            "a:.v",
        ] {
            assert!(text.parse::<Image>().is_err(), "{text}");
        }
    }
}
