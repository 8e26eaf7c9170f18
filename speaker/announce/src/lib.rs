//! Who announces what, pure.
