//! CA and serving certificate: when to renew them, and how.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use metallb_runtime::tls::KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair as SigningKey,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

/// Validity of the CA.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Validity of the serving certificate.
const SERVING_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Certificates are renewed when they end within this time.
pub const RENEW_AHEAD: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Certificates are valid from a little earlier on, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// Keys of the Secret.
const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// What the Secret holds, all PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The CA, followed by the one before it as long as some replica may still serve with it.
    pub ca_certificate: Vec<u8>,
    /// Key of the CA.
    pub ca_key: Vec<u8>,
    /// What is served.
    pub serving: KeyPair,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").finish_non_exhaustive()
    }
}

/// What is to be done about the certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Keep,
    /// A new serving certificate of the same CA.
    RenewServing,
    /// A new CA, too.
    RenewAll,
}

/// Making a certificate failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate")]
pub struct MakeError(#[from] rcgen::Error);

impl Bundle {
    /// Reads the data of the Secret; `None` unless all four keys are there.
    #[must_use]
    pub fn from_data(data: &BTreeMap<String, ByteString>) -> Option<Self> {
        let take = |key| {
            data.get(key)
                .map(|bytes| bytes.0.clone())
                .filter(|bytes| !bytes.is_empty())
        };
        Some(Self {
            ca_certificate: take(CA_CERTIFICATE)?,
            ca_key: take(CA_KEY)?,
            serving: KeyPair {
                certificate: take(CERTIFICATE)?,
                key: take(KEY)?,
            },
        })
    }

    /// Puts itself into the data of the Secret; other keys stay.
    pub fn store(&self, data: &mut BTreeMap<String, ByteString>) {
        let values = [
            (CA_CERTIFICATE, &self.ca_certificate),
            (CA_KEY, &self.ca_key),
            (CERTIFICATE, &self.serving.certificate),
            (KEY, &self.serving.key),
        ];
        for (key, value) in values {
            data.insert(key.to_owned(), ByteString(value.clone()));
        }
    }
}

/// Decides what is to be done at `now` for a server of this DNS name.
///
/// The serving certificate must do what an API server asks of it, now and for [`RENEW_AHEAD`] longer: chain to the
/// CA, carry the name, fit its key. Whatever cannot be read is renewed.
#[must_use]
pub fn plan(now: UnixTime, bundle: Option<&Bundle>, dns_name: &str) -> Plan {
    let Some(bundle) = bundle else { return Plan::RenewAll };
    let ahead = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + RENEW_AHEAD);
    let Some(ca) = ca_valid(bundle, now, ahead) else {
        return Plan::RenewAll;
    };
    let serves = |time| serves_as(&bundle.serving, &ca, dns_name, time);
    match serves(now).and_then(|()| serves(ahead)) {
        Some(()) => Plan::Keep,
        // With a key that cannot sign (RSA of an earlier release) a new CA is needed as well.
        None if issuer(bundle).is_none() => Plan::RenewAll,
        None => Plan::RenewServing,
    }
}

/// The CA, if it is valid now and for long enough.
fn ca_valid(bundle: &Bundle, now: UnixTime, ahead: UnixTime) -> Option<CertificateDer<'static>> {
    let ca = CertificateDer::from_pem_slice(&bundle.ca_certificate).ok()?;
    let (_, parsed) = parse_x509_certificate(&ca).ok()?;
    let seconds = |time: UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    let valid = parsed.is_ca()
        && validity.not_before.timestamp() <= seconds(now)
        && seconds(ahead) <= validity.not_after.timestamp();
    valid.then_some(ca.clone())
}

fn serves_as(pair: &KeyPair, ca: &CertificateDer<'static>, dns_name: &str, time: UnixTime) -> Option<()> {
    let provider = Arc::new(ring::default_provider());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pair.certificate)
        .collect::<Result<_, _>>()
        .ok()?;
    let key = PrivateKeyDer::from_pem_slice(&pair.key).ok()?;
    CertifiedKey::from_der(chain.clone(), key, &provider).ok()?;
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).ok()?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .ok()?;
    let name = ServerName::try_from(dns_name.to_owned()).ok()?;
    let (end, intermediates) = chain.split_first()?;
    verifier
        .verify_server_cert(end, intermediates, &name, &[], time)
        .ok()
        .map(drop)
}

fn issuer(bundle: &Bundle) -> Option<Issuer<'static, SigningKey>> {
    let key = SigningKey::from_pem(std::str::from_utf8(&bundle.ca_key).ok()?).ok()?;
    let ca = CertificateDer::from_pem_slice(&bundle.ca_certificate).ok()?;
    let (_, parsed) = parse_x509_certificate(&ca).ok()?;
    // A key that is not the CA's would sign certificates that nobody accepts.
    let fits = parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
    fits.then(|| Issuer::from_ca_cert_der(&ca, key).ok())?
}

/// Makes new certificates; the CA of `old` stays where the plan lets it.
///
/// # Errors
/// When the DNS name is not legal or the system has no randomness.
pub fn renew(now: UnixTime, plan: Plan, old: Option<&Bundle>, dns_name: &str) -> Result<Bundle, MakeError> {
    if let Some(old) = old.filter(|_| plan == Plan::RenewServing)
        && let Some(issuer) = issuer(old)
    {
        return Ok(Bundle {
            serving: serving(now, &issuer, dns_name)?,
            // By now nobody serves with the CA before it.
            ca_certificate: first_pem(&old.ca_certificate).unwrap_or_default(),
            ca_key: old.ca_key.clone(),
        });
    }
    let key = SigningKey::generate()?;
    let params = ca_params(now);
    let mut ca_certificate = params.self_signed(&key)?.pem().into_bytes();
    // Other replicas serve with the old CA until they notice.
    let previous = old.and_then(|old| first_pem(&old.ca_certificate));
    ca_certificate.extend(previous.unwrap_or_default());
    let ca_key = key.serialize_pem().into_bytes();
    let issuer = Issuer::new(params, key);
    Ok(Bundle {
        serving: serving(now, &issuer, dns_name)?,
        ca_certificate,
        ca_key,
    })
}

fn first_pem(pem: &[u8]) -> Option<Vec<u8>> {
    const END: &str = "-----END CERTIFICATE-----";
    CertificateDer::from_pem_slice(pem).ok()?;
    let text = std::str::from_utf8(pem).ok()?;
    let end = text.find(END)? + END.len();
    Some(format!("{}\n", text[..end].trim_start()).into_bytes())
}

fn ca_params(now: UnixTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Upstream's names.
    params.distinguished_name.push(DnType::CommonName, "cert");
    params.distinguished_name.push(DnType::OrganizationName, "metallb");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    limit(&mut params, now, CA_LIFE);
    params
}

fn serving(now: UnixTime, issuer: &Issuer<'_, SigningKey>, dns_name: &str) -> Result<KeyPair, MakeError> {
    let key = SigningKey::generate()?;
    let mut params = CertificateParams::new([dns_name.to_owned()])?;
    // RFC 5280: at most 64 characters; verifiers look at the alternative name anyway.
    if dns_name.len() <= 64 {
        params.distinguished_name.push(DnType::CommonName, dns_name);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.use_authority_key_identifier_extension = true;
    limit(&mut params, now, SERVING_LIFE);
    let certificate = params.signed_by(&key, issuer)?;
    Ok(KeyPair {
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
    })
}

fn limit(params: &mut CertificateParams, now: UnixTime, life: Duration) {
    let epoch = date_time_ymd(1970, 1, 1);
    let now = epoch + Duration::from_secs(now.as_secs());
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const NAME: &str = "metallb-webhook-service.metallb-system.svc";

    fn day(day: u32) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000) + day * DAY)
    }

    fn fresh() -> Bundle {
        renew(day(0), Plan::RenewAll, None, NAME).unwrap()
    }

    #[test]
    fn nothing_or_nonsense_means_everything_new() {
        assert_eq!(plan(day(0), None, NAME), Plan::RenewAll);
        let nonsense = Bundle {
            ca_certificate: b"x".to_vec(),
            ..fresh()
        };
        assert_eq!(plan(day(0), Some(&nonsense), NAME), Plan::RenewAll);
        assert_eq!(Bundle::from_data(&BTreeMap::new()), None);
    }

    #[test]
    fn the_serving_certificate_is_renewed_ninety_days_ahead() {
        let bundle = fresh();
        let plan = |at| plan(day(at), Some(&bundle), NAME);
        assert_eq!(
            [plan(0), plan(274), plan(276), plan(400)],
            [Plan::Keep, Plan::Keep, Plan::RenewServing, Plan::RenewServing]
        );
    }

    #[test]
    fn the_ca_is_renewed_ninety_days_ahead() {
        let bundle = fresh();
        let renewed = renew(day(3550), Plan::RenewServing, Some(&bundle), NAME).unwrap();
        assert_eq!(plan(day(3550), Some(&renewed), NAME), Plan::Keep);
        assert_eq!(plan(day(3561), Some(&renewed), NAME), Plan::RenewAll);
    }

    #[test]
    fn a_renewed_serving_certificate_has_the_same_ca() {
        let old = fresh();
        let new = renew(day(300), Plan::RenewServing, Some(&old), NAME).unwrap();
        assert_eq!((&new.ca_certificate, &new.ca_key), (&old.ca_certificate, &old.ca_key));
        assert_ne!(new.serving, old.serving);
        assert_eq!(plan(day(300), Some(&new), NAME), Plan::Keep);
    }

    #[test]
    fn a_new_ca_is_followed_by_the_one_before_and_no_more() {
        let first = fresh();
        let second = renew(day(1), Plan::RenewAll, Some(&first), NAME).unwrap();
        let third = renew(day(2), Plan::RenewAll, Some(&second), NAME).unwrap();
        let count = |bundle: &Bundle| CertificateDer::pem_slice_iter(&bundle.ca_certificate).count();
        assert_eq!([count(&first), count(&second), count(&third)], [1, 2, 2]);
        assert_eq!(plan(day(2), Some(&third), NAME), Plan::Keep);
        assert!(
            third
                .ca_certificate
                .ends_with(&first_pem(&second.ca_certificate).unwrap())
        );
    }

    #[test]
    fn what_an_api_server_would_refuse_is_renewed() {
        let bundle = fresh();
        assert_eq!(
            plan(day(0), Some(&bundle), "other.metallb-system.svc"),
            Plan::RenewServing
        );
        let foreign_key = Bundle {
            serving: KeyPair {
                key: fresh().serving.key,
                ..bundle.serving.clone()
            },
            ..bundle.clone()
        };
        assert_eq!(plan(day(0), Some(&foreign_key), NAME), Plan::RenewServing);
        let foreign_certificate = Bundle {
            serving: fresh().serving,
            ..bundle.clone()
        };
        assert_eq!(plan(day(0), Some(&foreign_certificate), NAME), Plan::RenewServing);
        let foreign_ca_key = Bundle {
            ca_key: fresh().ca_key,
            serving: fresh().serving,
            ..bundle
        };
        assert_eq!(plan(day(0), Some(&foreign_ca_key), NAME), Plan::RenewAll);
    }

    #[test]
    fn other_keys_of_the_secret_stay() {
        let mut data = BTreeMap::from([("other".to_owned(), ByteString(b"x".to_vec()))]);
        let bundle = fresh();
        bundle.store(&mut data);
        assert_eq!((data.len(), Bundle::from_data(&data)), (5, Some(bundle)));
    }

    #[test]
    fn a_long_service_name_is_no_obstacle() {
        let name = format!("{}.{}.svc", "s".repeat(63), "n".repeat(63));
        let bundle = renew(day(0), Plan::RenewAll, None, &name).unwrap();
        assert_eq!(plan(day(0), Some(&bundle), &name), Plan::Keep);
    }
}
