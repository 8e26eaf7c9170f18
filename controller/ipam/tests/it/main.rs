//! The allocator and the assigner as their users see them.
#![allow(clippy::unwrap_used)] // helpers of tests are not seen as tests by clippy

mod cost;
mod dual;
mod lifecycle;
mod model;
mod pools;
mod requests;
mod restart;
mod sharing;
mod turns;
mod world;
