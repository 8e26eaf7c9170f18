//! Custom resources, names and labels of MetalLB.
//!
//! One module a kind; the newest version of each is re-exported here. The types decode whatever an API
//! server may have stored, however wrong the values: ranges are checked by `metallb-config`, so that one bad
//! object is one refused object and not a list that cannot be read. The schemas carry upstream's limits all
//! the same. This crate holds no decision and no I/O.

#![allow(
    clippy::duplicated_attributes,
    reason = "the lint takes two printer columns of one type for a repetition"
)]

pub mod address_pool;
pub mod bfd_profile;
pub mod bgp_advertisement;
pub mod bgp_peer;
pub mod bgp_session_state;
pub mod community;
pub mod configuration_state;
mod duration;
pub mod frr_configuration;
pub mod frr_k8s_configuration;
pub mod frr_node_state;
pub mod ip_address_pool;
pub mod l2_advertisement;
pub mod metallb;
pub mod names;
mod password;
mod schema;
pub mod service_bgp_status;
pub mod service_l2_status;
mod spec;

pub use address_pool::{AddressPool, AddressPoolSpec, LegacyBgpAdvertisement, Protocol};
pub use bfd_profile::{BFDProfile, BFDProfileSpec};
pub use bgp_advertisement::{BGPAdvertisement, BGPAdvertisementSpec};
pub use bgp_peer::v1beta2::{BGPPeer, BGPPeerSpec, DynamicAsn, SecretReference};
pub use bgp_session_state::{BGPSessionState, BGPSessionStateStatus};
pub use community::{Community, CommunityAlias, CommunitySpec};
pub use configuration_state::{ConfigurationResult, ConfigurationState, ConfigurationStateStatus};
pub use duration::{DurationError, GoDuration};
pub use frr_configuration::{FRRConfiguration, FRRConfigurationSpec};
pub use frr_k8s_configuration::{FRRK8sConfiguration, FRRK8sConfigurationSpec};
pub use frr_node_state::{FRRNodeState, FRRNodeStateStatus};
pub use ip_address_pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use l2_advertisement::{L2Advertisement, L2AdvertisementSpec, NodePreference};
pub use metallb::{
    BgpBackend, ComponentConfig, ComponentStatus, FrrK8sConfig, LogLevel, MetalLB, MetalLBSpec, MetalLBStatus,
    SpeakerBgp, SpeakerLayer2,
};
pub use password::Password;
pub use schema::EmptyStatus;
pub use service_bgp_status::{ServiceBGPStatus, ServiceBGPStatusStatus};
pub use service_l2_status::{ServiceL2Status, ServiceL2StatusStatus, StatusInterface};
