//! A small in-memory Kubernetes API server for the lab.
