//! The proxy's certificates: a good one, and one whose time is over.

use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// Both, and the authority that signed them.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    pub ca: String,
    pub good: Arc<ServerConfig>,
    pub expired: Arc<ServerConfig>,
}

/// Makes certificates for `names`.
pub(super) fn create(names: &[String]) -> Result<Certificates> {
    let ca = authority().context("cannot make a certificate authority")?;
    Ok(Certificates {
        good: serving(&ca, names, 2099)?,
        expired: serving(&ca, names, 2020)?,
        ca: ca.pem(),
    })
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "metallb-lab-faults");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn serving(ca: &CertifiedIssuer<'static, KeyPair>, names: &[String], until: i32) -> Result<Arc<ServerConfig>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, ca).context("cannot make a certificate")?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())?;
    // One request at a time on a connection, so that a fault of one is not a fault of others.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would not look at the certificate again.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(tokio_rustls::rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}
