//! Optimizers and schedules: the learning rate of each step, and the update as a graph over the arenas.

mod plateau;
mod schedule;
mod update;

pub use plateau::Plateau;
pub use schedule::Schedule;
pub use update::{
    LOSS_SCALE, LOSS_UNSCALE, Scaling, State, UpdateGraph, first_chunks, lengths, owners, record_place, rule, segments,
    states, update_graph,
};
