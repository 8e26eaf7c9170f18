//! ARP responder and gratuitous ARP, sans-IO.
