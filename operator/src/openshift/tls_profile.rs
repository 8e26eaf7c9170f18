//! The TLS profile that an administrator of OpenShift chose for the whole cluster.
//!
//! It takes the place of the `TLS_*` variables. Like upstream, we honour it whatever the adherence policy says.

use metallb_manifests::TlsSettings;
use serde::Deserialize;
use serde_json::Value;

/// The object with the profile, as the inventory knows it.
pub(crate) const ID: &str = "APIServer/cluster";

/// Its name.
pub(crate) const NAME: &str = "cluster";

/// What we can do below TLS 1.3, by OpenSSL's name and by IANA's. Profiles name more than that, all of it weaker.
const SUITES: [(&str, &str); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
];

const TLS_12: &str = "VersionTLS12";
const TLS_13: &str = "VersionTLS13";

#[derive(Deserialize)]
struct ApiServer {
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    tls_security_profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    #[serde(default, rename = "type")]
    type_: String,
    custom: Option<Custom>,
}

#[derive(Deserialize)]
struct Custom {
    #[serde(default)]
    ciphers: Vec<String>,
    #[serde(default, rename = "minTLSVersion")]
    min_tls_version: String,
}

/// Gives the settings of the cluster's profile. An object without one means OpenShift's default, `Intermediate`.
pub(crate) fn settings(api_server: &Value) -> TlsSettings {
    let profile = ApiServer::deserialize(api_server)
        .ok()
        .and_then(|it| it.spec.tls_security_profile);
    match profile {
        Some(Profile {
            custom: Some(custom),
            type_,
        }) if type_ == "Custom" => custom_settings(&custom),
        Some(Profile { type_, .. }) if type_ == "Modern" => newest(),
        // `Old` wants more than we can do, and nothing that we can do less.
        _ => older(SUITES.iter().map(|(_, iana)| *iana)),
    }
}

fn custom_settings(custom: &Custom) -> TlsSettings {
    if custom.min_tls_version == TLS_13 {
        return newest();
    }
    let wanted = |suite: &&(&str, &str)| custom.ciphers.iter().any(|name| name == suite.0 || name == suite.1);
    older(SUITES.iter().filter(wanted).map(|(_, iana)| *iana))
}

fn newest() -> TlsSettings {
    TlsSettings {
        min_version: TLS_13.to_owned(),
        ..TlsSettings::default()
    }
}

/// TLS 1.2 with these suites. With none of them nothing below TLS 1.3 would fit the profile.
fn older<'a>(suites: impl Iterator<Item = &'a str>) -> TlsSettings {
    let suites: Vec<_> = suites.collect();
    if suites.is_empty() {
        return newest();
    }
    TlsSettings {
        min_version: TLS_12.to_owned(),
        cipher_suites: suites.join(","),
        ..TlsSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metallb_runtime::tls;
    use serde_json::json;

    fn of(profile: &Value) -> (String, usize) {
        let made =
            settings(&json!({ "spec": { "tlsSecurityProfile": profile, "tlsAdherence": "StrictAllComponents" } }));
        assert_eq!(made.curve_preferences, "");
        let options = tls::Options {
            min_version: made.min_version.clone(),
            cipher_suites: made.cipher_suites.clone(),
            curve_preferences: String::new(),
        };
        options.check().unwrap();
        let suites = made.cipher_suites.split(',').filter(|name| !name.is_empty()).count();
        (made.min_version, suites)
    }

    fn custom(version: &str, ciphers: &[&str]) -> Value {
        json!({ "type": "Custom", "custom": { "ciphers": ciphers, "minTLSVersion": version } })
    }

    // OP-58
    #[test]
    fn every_profile_becomes_settings_that_our_programs_take() {
        let suite = "ECDHE-RSA-AES128-GCM-SHA256";
        for (profile, version, suites) in [
            (json!(null), TLS_12, 6),
            (json!({ "type": "Intermediate", "intermediate": {} }), TLS_12, 6),
            (json!({ "type": "Old", "old": {} }), TLS_12, 6),
            (json!({ "type": "Modern", "modern": {} }), TLS_13, 0),
            (json!({ "type": "Custom" }), TLS_12, 6),
            (custom(TLS_12, &[suite, "TLS_AES_128_GCM_SHA256"]), TLS_12, 1),
            (custom("VersionTLS10", &[suite, "DES-CBC3-SHA"]), TLS_12, 1),
            (custom(TLS_12, &["AES128-SHA"]), TLS_13, 0),
            (custom(TLS_13, &[suite]), TLS_13, 0),
        ] {
            assert_eq!(of(&profile), (version.to_owned(), suites), "{profile}");
        }
    }

    // OP-58
    #[test]
    fn suites_are_named_as_iana_does() {
        let made =
            settings(&json!({ "spec": { "tlsSecurityProfile": custom(TLS_12, &["ECDHE-ECDSA-CHACHA20-POLY1305"]) } }));
        assert_eq!(made.cipher_suites, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
    }

    #[test]
    fn an_object_that_nobody_understands_means_the_default() {
        assert_eq!(
            settings(&json!({ "spec": { "tlsSecurityProfile": 7 } })),
            settings(&json!({}))
        );
    }
}
