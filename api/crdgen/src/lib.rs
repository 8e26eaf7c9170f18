//! Writes the CustomResourceDefinitions.
