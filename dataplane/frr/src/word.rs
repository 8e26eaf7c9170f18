//! Words of a line of `frr.conf`: texts without blanks and control characters, which can neither end a line nor add an
//! argument to it.

use std::fmt;

use thiserror::Error;

/// Why a text cannot be written into `frr.conf`. Never shows the text, which may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It has a control character: a line break above all.
    #[error("{0} must not contain control characters")]
    Control(&'static str),
    /// It has a blank, at which FRR ends the word.
    #[error("{0} must not contain blanks")]
    Blank(&'static str),
    /// It is empty or too long.
    #[error("{what} must have 1 to {most} bytes")]
    Length {
        /// Names the kind of text.
        what: &'static str,
        /// The greatest number of bytes.
        most: usize,
    },
    /// FRR takes it for something else.
    #[error("{what} must {must}")]
    Shape {
        /// Names the kind of text.
        what: &'static str,
        /// What it lacks.
        must: &'static str,
    },
}

fn check(what: &'static str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.contains(char::is_control) {
        return Err(Refusal::Control(what));
    }
    if text.contains(char::is_whitespace) {
        return Err(Refusal::Blank(what));
    }
    if text.is_empty() || text.len() > most {
        return Err(Refusal::Length { what, most });
    }
    Ok(())
}

/// A name of a network interface or VRF of Linux.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device(String);

impl Device {
    /// Longest name in Linux, `IFNAMSIZ` without the final zero byte.
    pub const MAX_LEN: usize = 15;

    /// Checks a name.
    ///
    /// # Errors
    /// If Linux has no interface of such a name, or FRR takes the name for an address.
    pub fn new(what: &'static str, name: &str) -> Result<Self, Refusal> {
        check(what, name, Self::MAX_LEN)?;
        if name.contains('/') || [".", ".."].contains(&name) || name.parse::<std::net::IpAddr>().is_ok() {
            let must = "be the name of a network interface";
            return Err(Refusal::Shape { what, must });
        }
        Ok(Self(name.to_owned()))
    }
}

/// A host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// The longest name that every release of FRR takes.
    pub const MAX_LEN: usize = 63;

    /// Checks a name.
    ///
    /// # Errors
    /// Unless it starts with a letter or a digit, and has only such and `-`, `.` and `_` in it.
    pub fn new(name: &str) -> Result<Self, Refusal> {
        let what = "the host name";
        check(what, name, Self::MAX_LEN)?;
        let usual = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(usual) {
            let must = "start with a letter or a digit, and have only those, '-', '.' and '_'";
            return Err(Refusal::Shape { what, must });
        }
        Ok(Self(name.to_owned()))
    }
}

/// A name of a BFD profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileName(String);

impl ProfileName {
    /// FRR's `BFD_PROFILE_NAME_LEN` without the final zero byte.
    pub const MAX_LEN: usize = 63;

    /// Checks a name.
    ///
    /// # Errors
    /// If FRR takes no profile of such a name.
    pub fn new(name: &str) -> Result<Self, Refusal> {
        check("the name of the BFD profile", name, Self::MAX_LEN)?;
        Ok(Self(name.to_owned()))
    }
}

macro_rules! printed {
    ($($word:ty),*) => {$(
        impl fmt::Display for $word {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
printed!(Device, Host, ProfileName);

/// A key of TCP MD5; `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The kernel's limit for a key, `TCP_MD5SIG_MAXKEYLEN`.
    pub const MAX_LEN: usize = 80;

    /// Checks a key.
    ///
    /// # Errors
    /// If FRR takes no such key, or takes another one for it.
    pub fn new(key: &str) -> Result<Self, Refusal> {
        check("the password", key, Self::MAX_LEN)?;
        Ok(Self(key.to_owned()))
    }

    /// Returns the key in clear text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
