//! Which speakers are alive, sans-IO.
