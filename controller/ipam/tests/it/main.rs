//! The allocator and the assigner as their users see them.

mod dual;
mod lifecycle;
mod model;
mod pools;
mod requests;
mod restart;
mod sharing;
mod world;
