//! The TCP MD5 password of a peer, given in clear or in a Secret.

use kube::ResourceExt;
use metallb_api::names::BASIC_AUTH;

use super::Reader;
use crate::model::{SecretRef, SecretString};
use crate::resources::Secrets;
use crate::rule::Rule;

/// Longest TCP MD5 key in Linux.
const MAX_PASSWORD: usize = 80;
/// The type of a Secret that names none.
const UNTYPED: &str = "Opaque";

impl Reader<'_> {
    pub(super) fn secret_ref(&self) -> Option<SecretRef> {
        let secret = self.spec.password_secret.as_ref()?;
        let name = secret.name.clone().filter(|name| !name.is_empty())?;
        Some(SecretRef {
            name,
            namespace: secret.namespace.clone().unwrap_or_default(),
        })
    }

    pub(super) fn password(&mut self) -> Option<SecretString> {
        let clear = self.spec.password.as_ref().filter(|password| !password.is_empty());
        let password = match (clear, self.secret_ref()) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.refuse(Rule::B9, "passwordSecret", "both password and passwordSecret are set");
                return None;
            }
            (Some(clear), None) => clear.reveal().to_owned(),
            // Rather than by us, the session is refused by who reads it.
            (None, Some(_)) if self.context.options.secrets == Secrets::Elsewhere => return None,
            (None, Some(secret)) if self.context.options.strict() => {
                self.warn_of_unknown_secret(&secret.name);
                return None;
            }
            (None, Some(secret)) => return self.password_of(&secret.name).map(Into::into),
        };
        self.check_password(&password, "password", "password");
        Some(password.into())
    }

    /// Admission may not be told of Secrets; with none given nothing is known.
    fn warn_of_unknown_secret(&mut self, name: &str) {
        let secrets = &self.context.resources.secrets;
        if !secrets.is_empty() && !secrets.iter().any(|secret| secret.name_any() == name) {
            let reason = format!("there is no Secret \"{name}\" in the namespace of MetalLB");
            self.findings
                .warn(Rule::B10, &self.object, "spec.passwordSecret", reason);
        }
    }

    /// Looks into the Secret.
    fn password_of(&mut self, name: &str) -> Option<String> {
        let context = self.context;
        let namespace = context.resources.namespace.as_str();
        let mut secrets = context.objects.ours(|all| &all.secrets);
        let Some(secret) = secrets.find(|secret| secret.name_any() == name) else {
            let place = format!("\"{namespace}\"/\"{}\"", self.object.name);
            let reason = format!("there is no Secret \"{name}\" in namespace \"{namespace}\"");
            return self.unusable(&reason, &format!("secret ref not found for peer config {place}"));
        };
        let place = format!("\"{namespace}\"/\"{name}\"");
        let found = secret.type_.as_deref().unwrap_or(UNTYPED);
        if found != BASIC_AUTH {
            let reason = format!("Secret \"{name}\" is of type {found}, must be of type {BASIC_AUTH}");
            let problem = format!("secret type mismatch on {place}, type \"{BASIC_AUTH}\" is expected ");
            return self.unusable(&reason, &problem);
        }
        let Some(bytes) = secret.data.as_ref().and_then(|data| data.get("password")) else {
            let reason = format!("Secret \"{name}\" has no key \"password\"");
            return self.unusable(&reason, &format!("password not specified in the secret {place}"));
        };
        let Ok(text) = std::str::from_utf8(&bytes.0) else {
            let reason = format!("the password in Secret \"{name}\" is not UTF-8");
            return self.unusable(&reason, &format!("password in the secret {place} is not UTF-8"));
        };
        Some(self.without_line_break(name, text))
    }

    /// Refuses the Secret, summed up in the words of upstream, which leave out what it is.
    fn unusable(&mut self, reason: &str, problem: &str) -> Option<String> {
        let peer = &self.object.name;
        let words = format!("parsing peer {peer} {problem}\nfailed to parse peer {peer} password secret");
        self.refuse(Rule::B10, "passwordSecret", reason);
        self.findings.in_upstreams_words(words);
        None
    }

    /// Cuts off what an editor or `kubectl --from-file` leaves (W-29), says so, and checks the rest.
    fn without_line_break(&mut self, secret: &str, text: &str) -> String {
        let line = text.strip_suffix('\n');
        let password = line.map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if line.is_some() {
            let reason = format!("the line break at the end of the password in Secret \"{secret}\" is not used");
            self.findings
                .warn(Rule::W29, &self.object, "spec.passwordSecret", reason);
        }
        self.check_password(
            password,
            "passwordSecret",
            &format!("the password in Secret \"{secret}\""),
        );
        password.to_owned()
    }

    fn check_password(&mut self, password: &str, field: &str, what: &str) {
        let blanks = self.context.options.backend.is_frr() && password.contains(char::is_whitespace);
        if password.is_empty() || password.len() > MAX_PASSWORD || password.contains(char::is_control) || blanks {
            let also = if blanks { ", and no blanks because of FRR" } else { "" };
            let reason = format!("{what} must have 1 to {MAX_PASSWORD} bytes, no control characters{also}");
            self.refuse(Rule::W26, field, reason);
        }
    }
}
