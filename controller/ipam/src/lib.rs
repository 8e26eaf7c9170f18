//! The address allocator, pure.
