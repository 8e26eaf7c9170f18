//! The operator: reconciles the MetalLB resource.
