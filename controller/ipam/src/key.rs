//! Names that are copied often and compared a lot.

use std::fmt;
use std::sync::Arc;

/// The name of a pool.
pub type PoolName = Arc<str>;

/// Names a Service: `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Builds the key of a Service.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// Stands for the Service where it is not itself: on an address that it has left, or that is kept for it. No Service
    /// has such a name, for names have no blanks.
    pub(crate) fn standin(&self, why: &str) -> Self {
        Self(format!("{self} ({why})").into())
    }

    /// The Service that this is, or stands for for this reason.
    pub(crate) fn service_behind(&self, why: &str) -> &str {
        let standin = self.0.strip_suffix(')').and_then(|rest| rest.strip_suffix(why));
        standin.and_then(|rest| rest.strip_suffix(" (")).unwrap_or(&self.0)
    }

    /// Tells whether this stands for a Service.
    pub(crate) fn is_standin(&self) -> bool {
        self.0.contains(' ')
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name inside the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
