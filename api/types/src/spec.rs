//! Specs that may be absent.

/// Lets `spec` be left out of an object, as upstream's schemas allow.
///
/// The root struct that `CustomResource` derives has a mandatory `spec`; serde asks a missing field whether it
/// can be made from nothing, and a type says yes by decoding as an option. The struct must be declared with
/// `#[serde(remote = "Self")]`, which turns the derived code into the inherent functions called here.
macro_rules! optional_spec {
    ($spec:ident) => {
        impl<'de> serde::Deserialize<'de> for $spec {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Present($spec);
                impl<'de> serde::Deserialize<'de> for Present {
                    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                        $spec::deserialize(deserializer).map(Present)
                    }
                }
                let present = <Option<Present> as serde::Deserialize>::deserialize(deserializer)?;
                Ok(present.map_or_else(Self::default, |present| present.0))
            }
        }

        impl serde::Serialize for $spec {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
    };
}
pub(crate) use optional_spec;
