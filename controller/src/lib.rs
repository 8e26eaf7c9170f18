//! The controller: assigns addresses to Services of type LoadBalancer.
