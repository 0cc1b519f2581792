//! Buffer lifetimes: private values whose lives do not overlap share a buffer.

use super::{Buffer, Plan};

/// A buffer that is so much smaller than the largest keeps its memory to the end: to take it over would save nothing, and make a
/// step wait for the last one that reads it (`bundle.rs`).
const SMALL: usize = 64;

/// Merges private buffers greedily, the largest first, each into the first buffer that is free over its whole life (the
/// greedy-by-size rule of Pisarchyk & Lee 2020), and fills in every buffer's lifetime.
pub(super) fn colour(mut plan: Plan) -> Plan {
    let lives = lives(&plan);
    let mut order: Vec<usize> =
        (0..plan.buffers.len()).filter(|&i| !plan.buffers[i].shared && lives[i].is_some()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(plan.buffers[i].len), i));
    let mut merged: Vec<Buffer> = Vec::new();
    let mut places = vec![usize::MAX; plan.buffers.len()];
    for (i, buffer) in plan.buffers.iter().enumerate().filter(|(_, buffer)| buffer.shared) {
        places[i] = merged.len();
        merged.push(Buffer { lifetime: lives[i].unwrap_or((0, 0)), ..buffer.clone() });
    }
    let mut colours: Vec<(usize, Vec<(usize, usize)>)> = Vec::new();
    let largest = order.first().map_or(0, |&i| plan.buffers[i].len);
    for i in order {
        let life = lives[i].expect("unused buffers were left out");
        let small = plan.buffers[i].len * SMALL <= largest;
        let kept = (life.0, if small { plan.steps.len() } else { life.1 });
        let dtype = plan.buffers[i].dtype;
        let free = |(place, taken): &&mut (usize, Vec<(usize, usize)>)| {
            merged[*place].dtype == dtype && !taken.iter().any(|other| other.0 <= kept.1 && kept.0 <= other.1)
        };
        match colours.iter_mut().find(free) {
            Some((place, taken)) => {
                places[i] = *place;
                taken.push(kept);
                let (first, last) = merged[*place].lifetime;
                merged[*place].lifetime = (first.min(life.0), last.max(life.1));
            }
            None => {
                places[i] = merged.len();
                let name = format!("buffer.{}", colours.len());
                colours.push((merged.len(), vec![kept]));
                merged.push(Buffer { name, lifetime: life, ..plan.buffers[i].clone() });
            }
        }
    }
    for step in &mut plan.steps {
        for view in step.inputs.iter_mut().chain(&mut step.outputs) {
            view.buffer = places[view.buffer];
        }
    }
    plan.buffers = merged;
    plan
}

/// The first and the last step that touch each buffer.
fn lives(plan: &Plan) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; plan.buffers.len()];
    for (i, step) in plan.steps.iter().enumerate() {
        for view in step.inputs.iter().chain(&step.outputs) {
            let life = &mut lives[view.buffer];
            *life = Some((life.map_or(i, |(first, _)| first), i));
        }
    }
    lives
}
