//! Packet sockets, TCP options, netlink: the only unsafe code.
