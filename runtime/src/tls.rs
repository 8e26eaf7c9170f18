//! TLS for what we serve: upstream's flags, rustls underneath.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{NamedGroup, ServerConfig, SupportedProtocolVersion, version};

/// Cipher suites that have a name in Go and that nobody here speaks: named, they are left out. Those of TLS 1.3 are always
/// offered.
const NOT_OFFERED: [&str; 21] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
    // Go's old names of suites that it has under IANA's, too.
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
];

/// The same of curves: P-521 and X25519 with ML-KEM-768.
const CURVES_NOT_OFFERED: [u16; 2] = [25, 4588];

static NEWEST: [&SupportedProtocolVersion; 1] = [&version::TLS13];
static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// A TLS option or certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not `VersionTLS12` or `VersionTLS13`.
    #[error("parsing tls-min-version: unsupported TLS version {0:?}: must be VersionTLS12 or VersionTLS13")]
    Version(String),
    /// No cipher suite has that name.
    #[error("parsing tls-cipher-suites: unknown TLS cipher suite {0:?}")]
    Cipher(String),
    /// Not the number of a curve.
    #[error("parsing tls-curve-preferences: unknown TLS curve {0:?}")]
    Curve(String),
    /// The curve is listed twice.
    #[error("parsing tls-curve-preferences: TLS curve {0:?} is listed twice")]
    DuplicateCurve(String),
    /// Of the curves none is implemented.
    #[error("parsing tls-curve-preferences: none of the TLS curves {0:?} is supported")]
    NoCurve(String),
    /// The certificate or key is not PEM.
    #[error("cannot read certificate or key")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Certificate and key do not make a server.
    #[error("cannot use certificate and key")]
    Rustls(#[from] rustls::Error),
    /// Making the self-signed certificate failed.
    #[error("cannot make a self-signed certificate")]
    SelfSigned(#[from] rcgen::Error),
}

/// The values of `--tls-min-version`, `--tls-cipher-suites` and `--tls-curve-preferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `VersionTLS12` or `VersionTLS13`; empty means `VersionTLS13`.
    pub min_version: String,
    /// Comma-separated names; empty means all. They count in TLS 1.2 only: TLS 1.3 leaves no choice.
    pub cipher_suites: String,
    /// Comma-separated IANA numbers in order of preference; empty means all.
    pub curve_preferences: String,
}

/// Certificate chain and key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// Certificate, then intermediates.
    pub certificate: Vec<u8>,
    /// Private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

/// Makes ring the crypto provider of the process. Calling it again does nothing.
pub fn install_crypto_provider() {
    // An error means that one is installed already.
    let _ = ring::default_provider().install_default();
}

/// Makes a certificate for `localhost` that signs itself.
///
/// # Errors
/// When the key cannot be generated.
pub fn self_signed() -> Result<KeyPair, Error> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    Ok(KeyPair {
        certificate: made.cert.pem().into_bytes(),
        key: made.signing_key.serialize_pem().into_bytes(),
    })
}

impl Options {
    /// Builds the configuration of a server that offers HTTP/1.1, and HTTP/2 if `http2`.
    ///
    /// # Errors
    /// When an option names something unknown, or the key pair is not usable.
    pub fn server_config(&self, pair: &KeyPair, http2: bool) -> Result<ServerConfig, Error> {
        let chain = CertificateDer::pem_slice_iter(&pair.certificate).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&pair.key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(self.provider()?))
            .with_protocol_versions(self.versions()?)?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    /// Checks the options alone, so that a bad flag stops the start.
    ///
    /// # Errors
    /// When an option names something unknown.
    pub fn check(&self) -> Result<(), Error> {
        self.provider()?;
        self.versions().map(drop)
    }

    /// Says what of the options has no effect, for the log.
    #[must_use]
    pub fn note(&self) -> Option<&'static str> {
        let in_vain = !self.cipher_suites.is_empty() && !self.is_old_spoken();
        in_vain.then_some("cipher suites have no effect: TLS 1.3, the minimum version, leaves no choice")
    }

    fn is_old_spoken(&self) -> bool {
        self.min_version == "VersionTLS12"
    }

    fn versions(&self) -> Result<&'static [&'static SupportedProtocolVersion], Error> {
        match self.min_version.as_str() {
            "" | "VersionTLS13" => Ok(&NEWEST),
            "VersionTLS12" => Ok(&BOTH),
            other => Err(Error::Version(other.to_owned())),
        }
    }

    fn provider(&self) -> Result<CryptoProvider, Error> {
        let mut provider = ring::default_provider();
        // Unknown ones are refused even where they have no effect.
        let wanted = known_suites(&self.cipher_suites, &provider)?;
        if !wanted.is_empty() && self.is_old_spoken() {
            provider
                .cipher_suites
                .retain(|s| s.tls13().is_some() || wanted.contains(&suite_name(s).as_str()));
        }
        if !self.curve_preferences.is_empty() {
            provider.kx_groups = curves(&self.curve_preferences, &provider.kx_groups)?;
        }
        Ok(provider)
    }
}

fn known_suites<'a>(text: &'a str, provider: &CryptoProvider) -> Result<Vec<&'a str>, Error> {
    let known = |name: &&str| {
        NOT_OFFERED.contains(name) || provider.cipher_suites.iter().any(|suite| suite_name(suite) == **name)
    };
    let names: Vec<_> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    match names.iter().find(|name| !known(name)) {
        Some(unknown) => Err(Error::Cipher((*unknown).to_owned())),
        None => Ok(names),
    }
}

fn suite_name(suite: &rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite())
}

fn curves(text: &str, known: &[&'static dyn SupportedKxGroup]) -> Result<Vec<&'static dyn SupportedKxGroup>, Error> {
    let mut seen = Vec::new();
    let mut groups: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let unknown = || Error::Curve(part.to_owned());
        let number: u16 = part.parse().map_err(|_| unknown())?;
        if seen.contains(&number) {
            return Err(Error::DuplicateCurve(part.to_owned()));
        }
        seen.push(number);
        match known.iter().find(|group| group.name() == NamedGroup::from(number)) {
            Some(group) => groups.push(*group),
            None if CURVES_NOT_OFFERED.contains(&number) => {}
            None => return Err(unknown()),
        }
    }
    if groups.is_empty() {
        return Err(Error::NoCurve(text.to_owned()));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn options(min: &str, ciphers: &str, curves: &str) -> Options {
        Options {
            min_version: min.into(),
            cipher_suites: ciphers.into(),
            curve_preferences: curves.into(),
        }
    }

    #[rstest]
    #[case::default("", "", "")]
    #[case::tls13("VersionTLS13", "", "29,23")]
    #[case::tls12("VersionTLS12", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "")]
    #[case::tls13_with_suites_of_tls12("VersionTLS13", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "")]
    #[case::default_with_suites("", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256", "")]
    #[case::not_offered("VersionTLS12", "TLS_RSA_WITH_AES_128_CBC_SHA", "29,25,4588")]
    fn known_options_make_a_server(#[case] min: &str, #[case] ciphers: &str, #[case] curves: &str) {
        let config = options(min, ciphers, curves).server_config(&self_signed().unwrap(), false);
        assert_eq!(config.unwrap().alpn_protocols, [b"http/1.1".to_vec()]);
    }

    #[rstest]
    #[case::version("VersionTLS11", "", "")]
    #[case::cipher("VersionTLS12", "TLS_NULL", "")]
    #[case::cipher_without_effect("VersionTLS13", "TLS_NULL", "")]
    #[case::curve("", "", "1")]
    #[case::curves_not_offered("", "", "25,4588")]
    #[case::curve_name("", "", "X25519")]
    #[case::duplicate("", "", "29,29")]
    fn unknown_options_are_refused(#[case] min: &str, #[case] ciphers: &str, #[case] curves: &str) {
        assert!(options(min, ciphers, curves).check().is_err());
    }

    // OP-104
    #[test]
    fn suites_narrow_tls12_and_leave_tls13_alone() {
        let suite = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        let offered = |min: &str, ciphers: &str| options(min, ciphers, "").provider().unwrap().cipher_suites.len();
        assert_eq!(offered("VersionTLS13", suite), offered("VersionTLS13", ""));
        assert!(offered("VersionTLS12", suite) < offered("VersionTLS12", ""));
        assert!(options("", suite, "").note().unwrap().contains("no effect"));
        assert_eq!(options("VersionTLS12", suite, "").note(), None);
        assert_eq!(options("", "", "").note(), None);
    }

    #[test]
    fn the_key_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", self_signed().unwrap()), "KeyPair { .. }");
    }
}
