//! The CPU kernel of the update: chunk by chunk, measuring in the same pass what goes through the registers anyway.

use super::Update;
use super::rule::{Adagrad, Adam, At, Element, Momentum, RmsProp, Rule, Sgd};
use crate::base::{Real, Wide, arch};
use crate::graph::{Io, StepScalars};
use crate::ops::record::{CHUNK, OfGradients, RECORD, STEP_SCALE, STEP_SQUARES, Sums, WEIGHT_SQUARES};
use crate::ops::stats::{CHUNKS_PER_PART, CLIP, CORRECTION1, CORRECTION2, HALT, SCALING, SKIPPED, SKIPPING};
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;
use std::ops::Range;

/// The chunks of one part: parameters, states, records. Unused ones are empty.
type Parts<'a, R> = [&'a mut [R]; 5];

impl Update {
    pub(super) fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        match self.rule {
            Rule::Sgd => self.with::<R, Sgd>(io),
            Rule::Momentum { nesterov: false, .. } => self.with::<R, Momentum<false>>(io),
            Rule::Momentum { nesterov: true, .. } => self.with::<R, Momentum<true>>(io),
            Rule::Adagrad { .. } => self.with::<R, Adagrad>(io),
            Rule::RmsProp { centered, momentum, .. } => match (centered, momentum != 0.0) {
                (false, false) => self.with::<R, RmsProp<false, false>>(io),
                (false, true) => self.with::<R, RmsProp<false, true>>(io),
                (true, false) => self.with::<R, RmsProp<true, false>>(io),
                (true, true) => self.with::<R, RmsProp<true, true>>(io),
            },
            Rule::Adam { .. } => self.with::<R, Adam>(io),
        }
    }

    fn with<R: Real, E: Element>(&self, io: &mut Io<'_, R>) {
        let (gradients, control, lengths) = (io.real(1), io.real(2), io.index(3));
        let decoupled = matches!(self.rule, Rule::Adam { decoupled: true, .. });
        let halted = control[HALT] != R::ZERO || control[SCALING] == R::of(SKIPPING);
        let step = counted(io.step, control);
        let plain = !self.clip_norm && self.clip_value.is_none() && self.weight_decay == 0.0;
        let constants = Constants {
            at: self.rule.at(&step),
            factor: if self.clip_norm { control[CLIP] } else { R::ONE },
            limit: R::of(self.clip_value.unwrap_or(f64::INFINITY)),
            decay: R::of(if decoupled { 0.0 } else { self.weight_decay }),
            shrink: R::of(if decoupled { io.step.lr * self.weight_decay } else { 0.0 }),
            // Nothing is at most −1 in size.
            largest: if halted { -R::ONE } else { R::MAX },
            step_scale: R::of(STEP_SCALE),
        };
        let mut parts: Parts<'_, R> = Default::default();
        let mut outputs = io.outputs.iter_mut();
        for slot in parts.iter_mut().take(1 + E::STATES) {
            *slot = outputs.next().map(|out| &mut **out).unwrap_or_default();
        }
        if let (true, Some(records)) = (self.measure, outputs.next()) {
            parts[4] = records;
        }
        let lens = [CHUNK, CHUNK, CHUNK, CHUNK, RECORD].map(|len| len * CHUNKS_PER_PART);
        io.threads.zip_parts(parts, lens, |part, parts| {
            let first = part * CHUNKS_PER_PART;
            let gradients = &gradients[first * CHUNK..];
            let lengths = &lengths[first..];
            let part = Part { constants, gradients, lengths, parts };
            match (self.measure, plain) {
                (true, true) => arch().dispatch(Job::<R, E, true, true>(part, PhantomData)),
                (true, false) => arch().dispatch(Job::<R, E, true, false>(part, PhantomData)),
                (false, true) => arch().dispatch(Job::<R, E, false, true>(part, PhantomData)),
                (false, false) => arch().dispatch(Job::<R, E, false, false>(part, PhantomData)),
            }
        });
    }
}

/// The numbers of a step whose update has the number that it has without those that loss scaling skipped.
fn counted<R: Real>(step: &StepScalars, control: &[R]) -> StepScalars {
    let skipped = control[SKIPPED].f64();
    if skipped == 0.0 {
        return *step;
    }
    StepScalars {
        t: step.t - skipped as u32,
        bias_correction1: control[CORRECTION1].f64(),
        bias_correction2: control[CORRECTION2].f64(),
        ..*step
    }
}

/// What is the same for all elements: numbers, or vectors with the number in every lane.
#[derive(Clone, Copy)]
struct Constants<X> {
    at: At<X>,
    /// The clip factor.
    factor: X,
    /// Gradient elements are limited to ± this.
    limit: X,
    /// λ of L2 decay.
    decay: X,
    /// η·λ of decoupled decay.
    shrink: X,
    /// Elements whose gradient is at most this large move: those that are finite, or none.
    largest: X,
    step_scale: X,
}

impl<R: Real> Constants<R> {
    #[inline(always)]
    fn wide<S: Simd>(&self, simd: S) -> Constants<Wide<S, R>> {
        let wide = |x| Wide::splat(simd, x);
        Constants {
            at: self.at.wide(simd),
            factor: wide(self.factor),
            limit: wide(self.limit),
            decay: wide(self.decay),
            shrink: wide(self.shrink),
            largest: wide(self.largest),
            step_scale: wide(self.step_scale),
        }
    }
}

/// Some chunks, and what their update takes.
struct Part<'a, R> {
    constants: Constants<R>,
    /// From the first chunk of the part on.
    gradients: &'a [R],
    lengths: &'a [u32],
    parts: Parts<'a, R>,
}

/// The update of a part by the rule `E`; plain ones neither clip nor decay.
struct Job<'a, R, E, const MEASURE: bool, const PLAIN: bool>(Part<'a, R>, PhantomData<E>);

impl<R: Real, E: Element, const MEASURE: bool, const PLAIN: bool> WithSimd for Job<'_, R, E, MEASURE, PLAIN> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Part { constants, gradients, lengths, parts } = self.0;
        let constants = constants.wide(simd);
        let [weights, s0, s1, s2, records] = parts;
        for (i, weights) in weights.chunks_mut(CHUNK).enumerate() {
            let len = lengths[i] as usize;
            let gradients = &gradients[i * CHUNK..][..len];
            let states = [&mut *s0, &mut *s1, &mut *s2].map(|state| match state.get_mut(i * CHUNK..) {
                Some(state) if !state.is_empty() => &mut state[..len],
                _ => &mut [],
            });
            let mut chunk = Chunk::<S, R, MEASURE, PLAIN>::new(simd);
            chunk.update::<E>(&constants, &mut weights[..len], gradients, states);
            if MEASURE {
                let record = &mut records[i * RECORD..(i + 1) * RECORD];
                chunk.sums.finish(gradients, R::ONE, record);
                record[WEIGHT_SQUARES] = chunk.weight_squares.sum_lanes();
                record[STEP_SQUARES] = chunk.step_squares.sum_lanes();
            }
        }
    }
}

/// What the update of a chunk measures.
struct Chunk<S: Simd, R: Real, const MEASURE: bool, const PLAIN: bool> {
    simd: S,
    sums: Sums<S, R, OfGradients>,
    weight_squares: Wide<S, R>,
    step_squares: Wide<S, R>,
}

impl<S: Simd, R: Real, const MEASURE: bool, const PLAIN: bool> Chunk<S, R, MEASURE, PLAIN> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        let none = Wide::zero(simd);
        Self { simd, sums: Sums::none(simd, OfGradients), weight_squares: none, step_squares: none }
    }

    #[inline(always)]
    fn update<E: Element>(
        &mut self,
        constants: &Constants<Wide<S, R>>,
        weights: &mut [R],
        gradients: &[R],
        mut states: [&mut [R]; 3],
    ) {
        let lanes = Wide::<S, R>::lanes();
        let whole = weights.len() / lanes * lanes;
        for from in (0..whole).step_by(lanes) {
            self.vector::<E>(constants, weights, gradients, &mut states, from..from + lanes);
        }
        if whole < weights.len() {
            self.vector::<E>(constants, weights, gradients, &mut states, whole..weights.len());
        }
    }

    #[inline(always)]
    fn vector<E: Element>(
        &mut self,
        constants: &Constants<Wide<S, R>>,
        weights: &mut [R],
        gradients: &[R],
        states: &mut [&mut [R]; 3],
        range: Range<usize>,
    ) {
        let Constants { at, factor, limit, decay, shrink, largest, step_scale } = *constants;
        let none = Wide::zero(self.simd);
        let w = Wide::load(self.simd, &weights[range.clone()]);
        let g = Wide::load(self.simd, &gradients[range.clone()]);
        let mut old = [none; 3];
        for (old, state) in old.iter_mut().zip(&*states).take(E::STATES) {
            *old = Wide::load(self.simd, &state[range.clone()]);
        }
        let mut new = old;
        let moving = g.zero_below(at.tiny);
        let step = if PLAIN {
            E::step(&at, moving, &mut new)
        } else {
            // Limited by selections that let NaN pass.
            let below = limit.where_at_most(moving, limit, moving);
            let limited = below.where_at_most(-limit, -limit, below);
            // Tiny weights decay no more, so that decay makes none that are below the normal numbers.
            let decaying = w.zero_below(at.tiny);
            E::step(&at, limited * factor + decay * decaying, &mut new) - shrink * decaying
        };
        let step = g.abs().where_at_most(largest, step, none);
        (w + step).store(&mut weights[range.clone()]);
        for (k, state) in states.iter_mut().enumerate().take(E::STATES) {
            g.abs().where_at_most(largest, new[k], old[k]).store(&mut state[range.clone()]);
        }
        if MEASURE {
            self.sums.add(self.simd, g);
            let scaled = step * step_scale;
            self.weight_squares = w.mul_add(w, self.weight_squares);
            self.step_squares = scaled.mul_add(scaled, self.step_squares);
        }
    }
}
