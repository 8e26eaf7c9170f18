//! Keys and certificates of one control plane, made at start and forgotten at the end.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// The files that the programs read.
pub(crate) struct Pki {
    /// The authority that clients trust, as PEM.
    pub ca: String,
    /// Its file.
    pub ca_file: PathBuf,
    /// The API server's certificate and key.
    pub serving: (PathBuf, PathBuf),
    /// Signs the tokens of service accounts: the private key, and the public one to know them by.
    pub accounts: (PathBuf, PathBuf),
}

/// Makes all of it in `dir`; the API server is known by `names`.
pub(crate) fn create(dir: &Path, names: Vec<String>) -> Result<Pki> {
    let ca = authority().context("cannot make a certificate authority")?;
    let (cert, key) = serving(&ca, names).context("cannot make a certificate")?;
    let pki = Pki {
        ca: ca.pem(),
        ca_file: dir.join("ca.crt"),
        serving: (dir.join("apiserver.crt"), dir.join("apiserver.key")),
        accounts: (dir.join("service-accounts.key"), dir.join("service-accounts.pub")),
    };
    fs::write(&pki.ca_file, &pki.ca)?;
    fs::write(&pki.serving.0, cert)?;
    write_private(&pki.serving.1, &key)?;
    let accounts = KeyPair::generate()?;
    write_private(&pki.accounts.0, &accounts.serialize_pem())?;
    fs::write(&pki.accounts.1, accounts.public_key_pem())?;
    Ok(pki)
}

/// Writes a file that only its owner reads.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "metallb-lab-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn serving(ca: &CertifiedIssuer<'static, KeyPair>, names: Vec<String>) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let cert = params.signed_by(&key, ca)?;
    Ok((cert.pem(), key.serialize_pem()))
}
