//! The CPU kernel of the update: chunk by chunk, measuring in the same pass while a chunk is in the first-level cache.

use super::Update;
use super::rule::{Adagrad, Adam, At, Element, Momentum, RmsProp, Rule, Sgd};
use crate::base::Real;
use crate::graph::Io;
use crate::ops::record::{self, CHUNK, RECORD, STEP_SCALE, STEP_SQUARES, WEIGHT_SQUARES};
use crate::ops::stats::{CHUNKS_PER_PART, CLIP, HALT, clamp};

/// Independent chains of the sums.
const LANES: usize = 16;

/// The chunks of one part: parameters, states, records. Unused ones are empty.
type Parts<'a, R> = [&'a mut [R]; 5];

impl Update {
    pub(super) fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        match self.rule {
            Rule::Sgd => self.with(io, Sgd),
            Rule::Momentum { nesterov: false, .. } => self.with(io, Momentum::<false>),
            Rule::Momentum { nesterov: true, .. } => self.with(io, Momentum::<true>),
            Rule::Adagrad { .. } => self.with(io, Adagrad),
            Rule::RmsProp { centered, momentum, .. } => match (centered, momentum != 0.0) {
                (false, false) => self.with(io, RmsProp::<false, false>),
                (false, true) => self.with(io, RmsProp::<false, true>),
                (true, false) => self.with(io, RmsProp::<true, false>),
                (true, true) => self.with(io, RmsProp::<true, true>),
            },
            Rule::Adam { .. } => self.with(io, Adam),
        }
    }

    fn with<R: Real>(&self, io: &mut Io<'_, R>, element: impl Element<R> + Sync) {
        let (gradients, control, lengths) = (io.real(1), io.real(2), io.index(3));
        let decoupled = matches!(self.rule, Rule::Adam { decoupled: true, .. });
        let shared = Shared {
            element,
            at: self.rule.at(io.step),
            gradients,
            lengths,
            halted: control[HALT] != R::ZERO,
            factor: if self.clip_norm { control[CLIP] } else { R::ONE },
            limit: R::of(self.clip_value.unwrap_or(f64::INFINITY)),
            decay: R::of(if decoupled { 0.0 } else { self.weight_decay }),
            shrink: R::of(if decoupled { io.step.lr * self.weight_decay } else { 0.0 }),
        };
        let states = self.rule.states();
        let mut parts: Parts<'_, R> = Default::default();
        let mut outputs = io.outputs.iter_mut();
        for slot in parts.iter_mut().take(1 + states) {
            *slot = outputs.next().map(|out| &mut **out).unwrap_or_default();
        }
        if let (true, Some(records)) = (self.measure, outputs.next()) {
            parts[4] = records;
        }
        let lens = [CHUNK, CHUNK, CHUNK, CHUNK, RECORD].map(|len| len * CHUNKS_PER_PART);
        io.threads.zip_parts(parts, lens, |part, parts| shared.part(part, parts));
    }
}

struct Shared<'a, R, E> {
    element: E,
    at: At<R>,
    gradients: &'a [R],
    lengths: &'a [u32],
    halted: bool,
    factor: R,
    limit: R,
    decay: R,
    /// η·λ of decoupled weight decay.
    shrink: R,
}

/// Σw² and Σ(Δw)², lane by lane.
struct Sums<R> {
    weight: [R; LANES],
    step: [R; LANES],
}

impl<R: Real, E: Element<R>> Shared<'_, R, E> {
    fn part(&self, part: usize, [weights, s0, s1, s2, records]: Parts<'_, R>) {
        let first = part * CHUNKS_PER_PART;
        pulp::Arch::new().dispatch(|| {
            for (i, weights) in weights.chunks_mut(CHUNK).enumerate() {
                let len = self.lengths[first + i] as usize;
                let gradients = &self.gradients[(first + i) * CHUNK..][..len];
                let states = [&mut *s0, &mut *s1, &mut *s2].map(|s| match s.get_mut(i * CHUNK..) {
                    Some(state) if !state.is_empty() => &mut state[..len],
                    _ => &mut [],
                });
                let sums = self.chunk(&mut weights[..len], gradients, states);
                if let Some(record) = records.get_mut(i * RECORD..(i + 1) * RECORD) {
                    record::measure(gradients, R::ONE, record);
                    record[WEIGHT_SQUARES] = record::fold(sums.weight);
                    record[STEP_SQUARES] = record::fold(sums.step);
                }
            }
        });
    }

    #[inline(always)]
    fn chunk(&self, weights: &mut [R], gradients: &[R], states: [&mut [R]; 3]) -> Sums<R> {
        let mut sums = Sums { weight: [R::ZERO; LANES], step: [R::ZERO; LANES] };
        let (weights, weights_tail) = weights.as_chunks_mut::<LANES>();
        let (gradients, gradients_tail) = gradients.as_chunks::<LANES>();
        let mut states = states.map(|state| state.as_chunks_mut::<LANES>());
        for (i, (w, g)) in weights.iter_mut().zip(gradients).enumerate() {
            let mut own = [[R::ZERO; LANES]; 3];
            for (own, (blocks, _)) in own.iter_mut().zip(&states).take(E::STATES) {
                *own = blocks[i];
            }
            self.block(w, g, &mut own, &mut sums);
            for (own, (blocks, _)) in own.iter().zip(&mut states).take(E::STATES) {
                blocks[i] = *own;
            }
        }
        // The tail is a block whose missing gradients are NaN: they move nothing.
        let n = weights_tail.len();
        let (mut w, mut g, mut own) = ([R::ZERO; LANES], [R::of(f64::NAN); LANES], [[R::ZERO; LANES]; 3]);
        w[..n].copy_from_slice(weights_tail);
        g[..n].copy_from_slice(gradients_tail);
        for (own, (_, tail)) in own.iter_mut().zip(&states).take(E::STATES) {
            own[..n].copy_from_slice(tail);
        }
        self.block(&mut w, &g, &mut own, &mut sums);
        weights_tail.copy_from_slice(&w[..n]);
        for (own, (_, tail)) in own.iter().zip(&mut states).take(E::STATES) {
            tail.copy_from_slice(&own[..n]);
        }
        sums
    }

    #[inline(always)]
    fn block(&self, w: &mut [R; LANES], g: &[R; LANES], states: &mut [[R; LANES]; 3], sums: &mut Sums<R>) {
        for lane in 0..LANES {
            let moves = g[lane].is_finite() && !self.halted;
            let clipped = clamp(g[lane], self.limit) * self.factor + self.decay * w[lane];
            let old = [states[0][lane], states[1][lane], states[2][lane]];
            let mut new = old;
            let step = self.element.step(&self.at, clipped, &mut new) - self.shrink * w[lane];
            let step = if moves { step } else { R::ZERO };
            let scaled = step * R::of(STEP_SCALE);
            sums.weight[lane] += w[lane] * w[lane];
            sums.step[lane] += scaled * scaled;
            w[lane] += step;
            for k in 0..E::STATES {
                states[k][lane] = if moves { new[k] } else { old[k] };
            }
        }
    }
}
