//! The keys of a membership, and what they do to bytes.

use std::fmt;

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest,
};

use crate::wire::Refusal;

/// AES-256.
const KEY_LEN: usize = 32;
/// AES-GCM's.
const TAG_LEN: usize = 16;
/// Encrypted without padding; `0` pads as PKCS #7 does, and is only read.
const VERSION: u8 = 1;
/// How much longer than its content something encrypted is.
pub(crate) const OVERHEAD: usize = 1 + NONCE_LEN + TAG_LEN;

/// Derives the AES key from the content of `secretkey`.
///
/// Upstream: MetalLB appends the digest of nothing to the secret instead of hashing it, and takes the first 32 bytes of
/// that. Should it change, members with the old and the new key read each other by a [`Keyring`] of both.
fn derive(secret: &[u8]) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    let nothing = digest::digest(&digest::SHA256, b"");
    let bytes = secret.iter().chain(nothing.as_ref());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    key
}

/// The keys: all of them decrypt, the first one encrypts.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<LessSafeKey>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring([redacted])")
    }
}

impl Keyring {
    /// Keys derived from these secrets, as MetalLB does. None means that nothing is encrypted.
    #[must_use]
    pub fn of_secrets<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::of_keys(secrets.into_iter().map(derive))
    }

    /// These AES-256 keys.
    #[must_use]
    pub fn of_keys(keys: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let key = |bytes: [u8; KEY_LEN]| UnboundKey::new(&AES_256_GCM, &bytes).ok();
        Self {
            keys: keys.into_iter().filter_map(key).map(LessSafeKey::new).collect(),
        }
    }

    /// Says whether anything is encrypted.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Encrypts with the first key.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_LEN], mut plain: Vec<u8>, context: &[u8]) -> Vec<u8> {
        let Some(key) = self.keys.first() else { return plain };
        let sealed = Nonce::assume_unique_for_key(nonce);
        // Fails only beyond 64 GiB.
        if key
            .seal_in_place_append_tag(sealed, Aad::from(context), &mut plain)
            .is_err()
        {
            return Vec::new();
        }
        [&[VERSION], nonce.as_slice(), &plain].concat()
    }

    /// Decrypts with whichever key fits.
    pub(crate) fn open(&self, bytes: &[u8], context: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (&version, rest) = bytes.split_first().ok_or(Refusal::Truncated)?;
        if version > VERSION {
            return Err(Refusal::Decryption);
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Refusal::Truncated)?;
        for key in &self.keys {
            let mut buffer = sealed.to_vec();
            let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut buffer);
            if let Ok(len) = opened.map(|plain| plain.len()) {
                buffer.truncate(len);
                return if version == VERSION {
                    Ok(buffer)
                } else {
                    unpadded(buffer)
                };
            }
        }
        Err(Refusal::Decryption)
    }
}

/// PKCS #7: the last byte says how many bytes are padding.
fn unpadded(mut bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let padding = bytes.last().map_or(0, |last| usize::from(*last));
    let len = bytes.len().checked_sub(padding).ok_or(Refusal::Malformed)?;
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_LEN] = [7; NONCE_LEN];

    // L2-68
    #[test]
    fn a_short_secret_is_filled_up_with_the_digest_of_nothing() {
        let mut expected = [0x41; KEY_LEN];
        expected[22..].copy_from_slice(&[0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb]);
        assert_eq!(derive(&[b'A'; 22]), expected);
    }

    // L2-69
    #[test]
    fn of_a_long_secret_the_first_bytes_are_the_key() {
        assert_eq!(
            derive(b"0123456789abcdefghijklmnopqrstuvwxyz"),
            *b"0123456789abcdefghijklmnopqrstuv"
        );
    }

    #[test]
    fn both_keys_decrypt_and_the_first_encrypts() {
        let old = Keyring::of_secrets([b"old".as_slice()]);
        let both = Keyring::of_secrets([b"old".as_slice(), b"new"]);
        let new = Keyring::of_secrets([b"new".as_slice()]);
        let message = b"hello".to_vec();
        assert_eq!(
            old.open(&both.seal(NONCE, message.clone(), b""), b""),
            Ok(message.clone())
        );
        assert_eq!(
            both.open(&new.seal(NONCE, message.clone(), b""), b""),
            Ok(message.clone())
        );
        assert_eq!(new.open(&both.seal(NONCE, message, b""), b""), Err(Refusal::Decryption));
    }

    #[test]
    fn a_padded_message_of_the_older_form_is_read() {
        let ring = Keyring::of_secrets([b"secret".as_slice()]);
        let mut sealed = ring.seal(
            NONCE,
            b"hello\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b".to_vec(),
            b"",
        );
        sealed[0] = 0;
        assert_eq!(ring.open(&sealed, b""), Ok(b"hello".to_vec()));
    }

    #[test]
    fn another_context_is_refused() {
        let ring = Keyring::of_secrets([b"secret".as_slice()]);
        let sealed = ring.seal(NONCE, b"hello".to_vec(), b"one");
        assert_eq!(ring.open(&sealed, b"two"), Err(Refusal::Decryption));
    }

    #[test]
    fn keys_are_not_shown() {
        let ring = Keyring::of_secrets([b"hunter2".as_slice()]);
        assert_eq!(format!("{ring:?}"), "Keyring([redacted])");
    }
}
