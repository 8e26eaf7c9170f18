//! The objects that the operator and the installers want, pure.
