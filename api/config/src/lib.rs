//! The one parser from custom resources to configuration.
