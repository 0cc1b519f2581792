//! What is measured of the values that pass the layers of a micro-batch, in the graph that computes them.

use super::{Request, Training, names, table_place};
use crate::base::{Result, Shape, Type};
use crate::config::Layer;
use crate::graph::{Graph, Op, Phase, ValueId};
use crate::nn::Tap;
use crate::ops::examples::ExampleStats;
use crate::ops::histogram::{BINS, FoldCounts, RowHistogram};
use crate::ops::record::RECORD;
use crate::ops::stats::{CONTROL, Fold, TapStats};
use crate::ops::units::{Saturated, UnitAges};
use crate::ops::variance::VectorStats;
use crate::plan::{Arena, Place, Plan, compile};
use crate::probe::{Layout, Need, Needs, Part, Tapped};
use crate::run::tensors::arena_place;

/// What is met in the graph of a micro-batch; the rest looks at arenas.
pub(super) const NEEDS: [Need; 7] =
    [Need::Records, Need::Units, Need::Examples, Need::Squares, Need::Projections, Need::Slopes, Need::Counts];

/// An activation is saturated where its slope is below this share of its largest: beyond |z| = 2.2 for tanh, 4.4 for a
/// sigmoid.
pub const SLOPE_MIN: f64 = 0.05;

/// Whether units behind this tap can be dead: where z ≤ 0 on every example, they give nothing or next to nothing, and learn
/// nothing or next to nothing.
pub(super) fn is_rectified(tap: &Tap) -> bool {
    let layer = tap.activation_layer.as_ref();
    layer.is_some_and(|layer| matches!(layer, Layer::Relu | Layer::Elu { .. } | Layer::Gelu { .. } | Layer::Silu))
}

/// The |z| from which on the activation behind this tap is saturated; none where it never is.
pub(super) fn saturation(tap: &Tap) -> Option<f64> {
    // φ′ is (1 − t²) for t = tanh z, and (1 − t²)/4 for the sigmoid with t = tanh z/2.
    let z = (1.0 - SLOPE_MIN).sqrt().atanh();
    match tap.activation_layer.as_ref()? {
        Layer::Tanh => Some(z),
        Layer::Sigmoid => Some(2.0 * z),
        _ => None,
    }
}

/// What there is to be measured.
pub(super) fn tapped(training: &Training, tensors: usize) -> Tapped {
    let taps = &training.built.taps;
    let shapes = |pick: fn(&Tap) -> ValueId| taps.iter().map(|tap| training.graph.shape(pick(tap))).collect();
    let those = |wanted: &dyn Fn(&Tap) -> bool| (0..taps.len()).filter(|&i| wanted(&taps[i])).collect();
    Tapped {
        activations: shapes(|tap| tap.activation),
        outputs: shapes(|tap| tap.z),
        rectified: those(&is_rectified),
        bounded: those(&|tap| saturation(tap).is_some()),
        dense: those(&|tap| tap.input.is_some()),
        tensors,
    }
}

/// Adds what these needs ask for behind the backward pass.
pub(super) fn tap(
    training: &mut Training,
    request: &Request<'_>,
    arena: &Arena,
    layout: &Layout,
    needs: Needs,
) -> Result<()> {
    training.graph.set_phase(Phase::Statistics);
    let mut builder = Builder { training, arena, layout };
    if needs.has(Need::Records) {
        builder.records()?;
    }
    if needs.has(Need::Units) {
        builder.units(request.window)?;
    }
    if needs.has(Need::Examples) {
        builder.examples()?;
    }
    if needs.has(Need::Squares) {
        builder.squares()?;
    }
    if needs.has(Need::Projections) && !request.accumulates {
        let directions = builder.training.gradients.clone();
        builder.products(&directions, request, Part::Projections)?;
    }
    if needs.has(Need::Slopes) {
        builder.slopes(request)?;
    }
    if needs.has(Need::Counts) {
        builder.counts()?;
    }
    Ok(())
}

struct Builder<'a> {
    training: &'a mut Training,
    arena: &'a Arena,
    layout: &'a Layout,
}

impl Builder<'_> {
    fn tap(&self, i: usize) -> Tap {
        self.training.built.taps[i].clone()
    }

    /// Names the nodes to come after a tap.
    fn scope(&mut self, i: usize) {
        let tap = &self.training.built.taps[i];
        self.training.graph.set_scope(&format!("{} {}", tap.name, tap.kind));
    }

    /// Puts records where the fold of a part looks for those of its row `row`.
    fn place(&mut self, records: ValueId, part: Part, row: usize) {
        let offset = self.layout.records_of(part)[row].first * RECORD;
        let place = Place { buffer: names::TAP_RECORDS.into(), offset, len: self.layout.records * RECORD };
        self.training.places.push((records, place));
    }

    fn apply<O: Op + 'static>(&mut self, op: O, inputs: &[ValueId]) -> Result<ValueId> {
        self.training.graph.apply(op, inputs)
    }

    fn records(&mut self) -> Result<()> {
        let most = TapStats::LAYERS_MAX;
        for first in (0..self.training.built.taps.len()).step_by(most) {
            let taps = &self.training.built.taps[first..];
            let taps = &taps[..most.min(taps.len())];
            let scope = taps.iter().map(|tap| format!("{} {}", tap.name, tap.kind)).collect::<Vec<_>>().join(", ");
            let values = taps.iter().zip(&self.training.signals[first..]);
            let values = values.flat_map(|(tap, &signal)| [tap.activation, signal]);
            let values: Vec<ValueId> = values.chain([self.training.weights]).collect();
            self.training.graph.set_scope(&scope);
            let records = self.apply(TapStats, &values)?;
            self.place(records, Part::Activations, first);
        }
        Ok(())
    }

    fn units(&mut self, window: u32) -> Result<()> {
        let Tapped { rectified, bounded, .. } = &self.layout.tapped;
        for (row, &i) in rectified.iter().enumerate() {
            let tap = self.tap(i);
            self.scope(i);
            let units = self.training.graph.shape(tap.z).last();
            let ages = self.training.graph.input(&format!("{}.{i}", names::AGES), Type::real([units]))?;
            let outputs = self.training.graph.apply_all(UnitAges { window }, &[tap.z, ages])?;
            self.place(outputs[1], Part::Units, row);
        }
        for (row, &i) in bounded.iter().enumerate() {
            let tap = self.tap(i);
            self.scope(i);
            let limit = saturation(&tap).expect("a bounded layer saturates");
            let records = self.apply(Saturated { limit }, &[tap.z])?;
            self.place(records, Part::Units, rectified.len() + row);
        }
        Ok(())
    }

    /// The dense layers: their taps, what comes in, ∂L/∂z.
    fn dense(&self) -> impl Iterator<Item = (usize, Tap, ValueId, ValueId)> + use<> {
        let signals = self.training.signals.iter();
        let taps = self.training.built.taps.iter().cloned().zip(signals).enumerate();
        let dense = taps.filter_map(|(i, (tap, &signal))| tap.input.map(|x| (i, tap, x, signal)));
        dense.collect::<Vec<_>>().into_iter()
    }

    fn examples(&mut self) -> Result<()> {
        for (row, (i, tap, x, signal)) in self.dense().enumerate() {
            self.scope(i);
            let records = self.apply(ExampleStats { bias: tap.params.len() > 1 }, &[x, signal])?;
            self.place(records, Part::Examples, row);
        }
        Ok(())
    }

    /// Σᵢ(∂(wᵢℓᵢ)/∂θⱼ)²: since the derivative by a weight is a product of a number that comes in and one of the signal, it is the
    /// product of their squares.
    fn squares(&mut self) -> Result<()> {
        for (i, tap, x, signal) in self.dense() {
            self.scope(i);
            let g = &mut self.training.graph;
            let (x, signal) = (g.mul(x, x)?, g.mul(signal, signal)?);
            let of_weight = g.matmul_t(signal, x, true, false)?;
            let of_bias = g.sum_axes(signal, &[0])?;
            for (name, squares) in tap.params.iter().zip([of_weight, of_bias]) {
                self.training.places.push((squares, arena_place(self.arena, names::SQUARES, name)));
            }
        }
        Ok(())
    }

    /// ∂(wᵢℓᵢ)/∂θ times a direction in the parameters, of each example, summed over dense layers; into a part.
    fn products(&mut self, directions: &[ValueId], request: &Request<'_>, part: Part) -> Result<()> {
        let mut sum = None;
        for (i, tap, x, signal) in self.dense() {
            self.scope(i);
            let g = &mut self.training.graph;
            let direction = |name: &String| {
                let at = request.model.params.iter().position(|param| param.name == *name);
                directions[at.expect("every parameter of a tap is the model's")]
            };
            let mut moved = g.matmul_t(x, direction(&tap.params[0]), false, true)?;
            if let Some(bias) = tap.params.get(1) {
                moved = g.add(moved, direction(bias))?;
            }
            let products = g.mul(moved, signal)?;
            let products = g.sum_axes(products, &[1])?;
            sum = Some(match sum {
                Some(others) => g.add(others, products)?,
                None => products,
            });
        }
        let Some(sum) = sum else { return Ok(()) };
        let records = self.apply(VectorStats, &[sum])?;
        self.place(records, part, 0);
        Ok(())
    }

    /// What the parabola of the loss along the last update needs: losses of examples, and how each changes along it.
    fn slopes(&mut self, request: &Request<'_>) -> Result<()> {
        self.training.graph.set_scope("direction");
        let losses = self.training.graph.mul(self.training.losses, self.training.weights)?;
        let records = self.apply(VectorStats, &[losses])?;
        self.place(records, Part::Losses, 0);
        let mut updates = Vec::new();
        for param in &request.model.params {
            let g = &mut self.training.graph;
            let now = g.param(&param.name, param.shape)?;
            let before = g.input(&format!("last {}", param.name), Type::real(param.shape))?;
            self.training.places.push((before, arena_place(self.arena, names::LAST_PARAMS, &param.name)));
            updates.push(self.training.graph.sub(now, before)?);
        }
        self.products(&updates, request, Part::Slopes)
    }

    fn counts(&mut self) -> Result<()> {
        let len = self.layout.counts_len() * BINS;
        for i in 0..self.training.built.taps.len() {
            let tap = self.tap(i);
            self.scope(i);
            let counts = self.apply(RowHistogram, &[tap.activation])?;
            let offset = self.layout.counts[i].first * BINS;
            self.training.places.push((counts, Place { buffer: names::TAP_COUNTS.into(), offset, len }));
        }
        Ok(())
    }
}

/// Folds tap records, counts and the loss into their rows of the table.
pub(super) fn measure(layout: &Layout, needs: Needs) -> Result<Plan> {
    let mut g = Graph::new();
    g.set_phase(Phase::Statistics);
    let mut places = Vec::new();
    let records = g.input(names::TAP_RECORDS, Type::real([layout.records, RECORD]))?;
    let mut control = g.input(names::CONTROL, Type::real([CONTROL]))?;
    let loss = g.input(names::LOSS, Type::real(Shape::SCALAR))?;
    for (i, fold) in layout.folds.iter().enumerate() {
        if fold.need().is_some_and(|need| !needs.has(need)) {
            continue;
        }
        let rows = fold.spans.len();
        let segments = g.input(&segments_name(i), Type::index([rows, 2]))?;
        let table = g.input(&format!("{}.{i}", names::TABLE), Type::real([rows, RECORD]))?;
        places.push((table, table_place(layout, fold.row)));
        let mut inputs = vec![records, segments, table, control];
        inputs.extend((i == 0).then_some(loss));
        control = g.apply_all(Fold { accumulate: true, loss: i == 0 }, &inputs)?[1];
    }
    if let (true, Some(row)) = (needs.has(Need::Counts), layout.row(Part::ActivationCounts)) {
        let layers = layout.counts.len();
        let counts = g.input(names::TAP_COUNTS, Type::real([layout.counts_len(), BINS]))?;
        let segments = g.input(names::COUNT_SEGMENTS, Type::index([layers, 2]))?;
        let table = g.input("table.counts", Type::real([layers, BINS]))?;
        places.push((table, table_place(layout, row)));
        g.apply(FoldCounts { accumulate: true }, &[counts, segments, table])?;
    }
    compile("measure", &g, &places)
}

/// The buffer of the segments of fold number i.
pub(in crate::run) fn segments_name(i: usize) -> String {
    format!("{}.{i}", names::TAP_SEGMENTS)
}
