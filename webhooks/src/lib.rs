//! Admission and conversion: verdicts, server, certificates.
