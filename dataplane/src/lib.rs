//! Sockets and tasks of the announcing protocols; knows no Kubernetes.
