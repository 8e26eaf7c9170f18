//! Custom resources, names and labels of MetalLB.
