//! Images as archives of the OCI image layout, which `ctr images import`, `docker load` and `podman load` take. The same
//! input makes the same archive, byte for byte.

mod layout;

pub use layout::{Archive, Layer};
