//! A cluster in a process, for trying and testing.
