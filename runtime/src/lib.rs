//! Kubernetes plumbing shared by the binaries.
