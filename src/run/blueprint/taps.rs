//! What is measured of the values that pass the layers of a micro-batch, in the graph that computes them.

use super::{Request, Training, names, table_place};
use crate::base::{DType, Result, Shape, Type};
use crate::config::Layer;
use crate::graph::{Graph, Op, Phase, ValueId};
use crate::nn::{ByExample, Tap};
use crate::ops::examples::ExampleStats;
use crate::ops::histogram::{BINS, FoldCounts, RowHistogram};
use crate::ops::noise::{ElementwiseStats, MicroStats};
use crate::ops::record::RECORD;
use crate::ops::stats::{CONTROL, Fold, TapStats};
use crate::ops::units::{Saturated, UnitAges};
use crate::ops::variance::VectorStats;
use crate::plan::{Arena, Place, Plan, compile};
use crate::probe::{Layout, Need, Needs, Part, Scattered, Tapped};
use crate::run::tensors::arena_place;

/// What is met in the graph of a micro-batch; the rest looks at arenas.
pub(super) const NEEDS: [Need; 8] = [
    Need::Records,
    Need::Units,
    Need::Examples,
    Need::Squares,
    Need::Projections,
    Need::Slopes,
    Need::Counts,
    Need::Rounding,
];

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

/// Whether gradients of single examples are known in this layer.
pub(super) fn is_resolved(tap: &Tap) -> bool {
    tap.by_example != ByExample::Unknown
}

/// What there is to be measured.
pub(super) fn tapped(training: &Training, request: &Request<'_>) -> Tapped {
    let taps = &training.built.taps;
    let shapes = |pick: fn(&Tap) -> ValueId| taps.iter().map(|tap| training.graph.shape(pick(tap))).collect();
    let those = |wanted: &dyn Fn(&Tap) -> bool| (0..taps.len()).filter(|&i| wanted(&taps[i])).collect();
    Tapped {
        activations: shapes(|tap| tap.activation),
        outputs: shapes(|tap| tap.z),
        rectified: those(&is_rectified),
        bounded: those(&|tap| saturation(tap).is_some()),
        resolved: taps.iter().enumerate().filter_map(|(layer, tap)| resolved(&training.graph, layer, tap)).collect(),
        by_micro: match request.always_accumulates {
            true => unresolved(training, request)
                .map(|(layer, gradient)| {
                    let records = MicroStats::groups(&training.graph.shape(gradient));
                    Scattered { layer, records }
                })
                .collect(),
            false => Vec::new(),
        },
        tensors: request.model.params.len(),
        accumulates: request.accumulates,
        is_scaled: request.scaling.is_some(),
    }
}

/// A layer whose examples tell its noise; none if it is not resolved.
fn resolved(graph: &Graph, layer: usize, tap: &Tap) -> Option<Scattered> {
    let shape = graph.shape(tap.z);
    let records = match tap.by_example {
        ByExample::Dense => ExampleStats::groups(&shape),
        ByExample::Elementwise => ElementwiseStats::groups(&shape),
        ByExample::Unknown => return None,
    };
    Some(Scattered { layer, records })
}

/// The tensors of all other layers: layer and gradient.
fn unresolved(training: &Training, request: &Request<'_>) -> impl Iterator<Item = (usize, ValueId)> {
    let taps = training.built.taps.iter().enumerate().filter(|(_, tap)| !is_resolved(tap));
    let tensors = taps.flat_map(|(layer, tap)| tap.params.iter().map(move |name| (layer, name)));
    tensors.map(|(layer, name)| (layer, training.gradients[place(request, name)]))
}

/// The place of a parameter among those of the model.
fn place(request: &Request<'_>, name: &str) -> usize {
    let at = request.model.params.iter().position(|param| param.name == name);
    at.expect("every parameter of a tap is the model's")
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
        builder.micros(request)?;
    }
    if needs.has(Need::Squares) {
        builder.squares()?;
    }
    if needs.has(Need::Projections) && layout.row(Part::Projections).is_some() {
        builder.projections(request)?;
    }
    if needs.has(Need::Slopes) {
        builder.slopes(request)?;
    }
    if needs.has(Need::Counts) {
        builder.counts()?;
    }
    if needs.has(Need::Rounding) {
        builder.rounding()?;
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

    /// A measurement, of widened values where they are of half precision.
    fn apply<O: Op + 'static>(&mut self, op: O, inputs: &[ValueId]) -> Result<ValueId> {
        let g = &mut self.training.graph;
        let inputs = inputs.iter().map(|&input| g.widened(input)).collect::<Result<Vec<ValueId>>>()?;
        g.apply(op, &inputs)
    }

    fn records(&mut self) -> Result<()> {
        let most = self.layout.tapped.together();
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
            // max(z, 0) is above 0 where z is, and there anyway, so that z need not be kept.
            let is_relu = matches!(tap.activation_layer, Some(Layer::Relu));
            let g = &mut self.training.graph;
            // Of half precision it is there as it is stored, or z is.
            let stored = g.maker(tap.activation).map(|node| node.inputs[0]);
            let is_stored =
                is_relu && stored.is_some_and(|relu| g.maker(relu).is_some_and(|node| node.inputs == [tap.z]));
            let seen = match g.ty(tap.z).dtype {
                DType::Half if is_stored => g.widened(tap.activation)?,
                DType::Half => g.widened(tap.z)?,
                _ if is_relu => g.relu(tap.z)?,
                _ => tap.z,
            };
            let outputs = self.training.graph.apply_all(UnitAges { window }, &[seen, ages])?;
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

    /// The resolved layers: their taps, what their parameters are applied to, ∂L/∂z.
    fn resolved(&self) -> impl Iterator<Item = (usize, Tap, ValueId, ValueId)> + use<> {
        let signals = self.training.signals.iter();
        let taps = self.training.built.taps.iter().cloned().zip(signals).enumerate();
        let resolved = taps.filter(|(_, (tap, _))| is_resolved(tap));
        resolved.map(|(i, (tap, &signal))| (i, tap.clone(), tap.input, signal)).collect::<Vec<_>>().into_iter()
    }

    fn examples(&mut self) -> Result<()> {
        for (row, (i, tap, x, signal)) in self.resolved().enumerate() {
            self.scope(i);
            let bias = tap.params.len() > 1;
            let records = match tap.by_example {
                ByExample::Elementwise => self.apply(ElementwiseStats { bias }, &[x, signal])?,
                _ => self.apply(ExampleStats { bias }, &[x, signal])?,
            };
            self.place(records, Part::Examples, row);
        }
        Ok(())
    }

    /// The gradients of this micro-batch by what no example tells apart.
    fn micros(&mut self, request: &Request<'_>) -> Result<()> {
        if self.layout.tapped.by_micro.is_empty() {
            return Ok(());
        }
        let tensors: Vec<_> = unresolved(self.training, request).collect();
        for (row, (layer, gradient)) in tensors.into_iter().enumerate() {
            self.scope(layer);
            let records = self.apply(MicroStats, &[gradient])?;
            self.place(records, Part::Micros, row);
        }
        Ok(())
    }

    /// Σᵢ(∂(wᵢℓᵢ)/∂θⱼ)²: since the derivative by a weight is a product of a number that comes in and one of the signal, it is the
    /// product of their squares.
    fn squares(&mut self) -> Result<()> {
        for (i, tap, x, signal) in self.resolved() {
            self.scope(i);
            let g = &mut self.training.graph;
            let (x, signal) = (g.mul(x, x)?, g.mul(signal, signal)?);
            let of_weight = match tap.by_example {
                ByExample::Elementwise => {
                    let products = g.mul(x, signal)?;
                    g.sum_axes(products, &[0])?
                }
                _ => g.matmul_t(signal, x, true, false)?,
            };
            let of_bias = g.sum_axes(signal, &[0])?;
            for (name, squares) in tap.params.iter().zip([of_weight, of_bias]) {
                self.training.places.push((squares, arena_place(self.arena, names::SQUARES, name)));
            }
        }
        Ok(())
    }

    /// The products of each example's gradient with the gradient of the batch.
    fn projections(&mut self, request: &Request<'_>) -> Result<()> {
        let gradients = self.training.gradients.clone();
        self.products(request, Part::Projections, |g, layer, params| {
            let [rows, inputs, outputs] =
                [g.shape(layer.x).dim(0), g.shape(layer.x).last(), g.shape(layer.signal).last()];
            // Both ways give the same; products of examples with each other take less where these are few.
            if layer.is_dense && rows * (inputs + outputs) < inputs * outputs {
                among_examples(g, layer, params.len() > 1)
            } else {
                along(g, layer, &params.iter().map(|&i| gradients[i]).collect::<Vec<_>>())
            }
        })
    }

    /// A number of each example, summed over resolved layers, of which `of` gives those of one with these parameters; their
    /// records go into a part.
    fn products(
        &mut self,
        request: &Request<'_>,
        part: Part,
        of: impl Fn(&mut Graph, Resolved, &[usize]) -> Result<ValueId>,
    ) -> Result<()> {
        let mut sum = None;
        for (i, tap, x, signal) in self.resolved() {
            self.scope(i);
            let params: Vec<usize> = tap.params.iter().map(|name| place(request, name)).collect();
            let is_dense = tap.by_example == ByExample::Dense;
            let products = of(&mut self.training.graph, Resolved { x, signal, is_dense }, &params)?;
            sum = Some(match sum {
                Some(others) => self.training.graph.add(others, products)?,
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
            let update = self.training.graph.input(&format!("last {}", param.name), Type::real(param.shape))?;
            self.training.places.push((update, arena_place(self.arena, names::LAST_UPDATE, &param.name)));
            updates.push(update);
        }
        self.products(request, Part::Slopes, |g, dense, params| {
            along(g, dense, &params.iter().map(|&i| updates[i]).collect::<Vec<_>>())
        })
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

impl Builder<'_> {
    /// Histograms of the scaled signals, rounded and as they were.
    fn rounding(&mut self) -> Result<()> {
        let (layers, len) = (self.training.built.taps.len(), self.layout.signal_counts_len() * BINS);
        for (i, rounded) in self.training.rounded.clone().into_iter().enumerate() {
            let Some((stored, exact)) = rounded else { continue };
            self.scope(i);
            for (row, value) in [(i, stored), (layers + i, exact)] {
                let counts = self.apply(RowHistogram, &[value])?;
                let offset = self.layout.signal_counts[row].first * BINS;
                self.training.places.push((counts, Place { buffer: names::SIGNAL_COUNTS.into(), offset, len }));
            }
        }
        Ok(())
    }
}

/// What comes into a resolved layer [n, inputs], and ∂L/∂z [n, outputs].
#[derive(Clone, Copy)]
struct Resolved {
    x: ValueId,
    signal: ValueId,
    /// A matrix product, or else element by element.
    is_dense: bool,
}

/// ∂(wᵢℓᵢ)/∂(W, b) times a direction (D, d) in the parameters of a layer, of each example [n, 1]: (δᵢᵀD)·xᵢ + δᵢᵀd in a dense layer, where
/// D is read in the order in which it lies; δᵢ·(D∘xᵢ) + δᵢᵀd element by element.
fn along(g: &mut Graph, layer: Resolved, direction: &[ValueId]) -> Result<ValueId> {
    let Resolved { x, signal, is_dense } = layer;
    let moved = if is_dense { g.matmul(signal, direction[0])? } else { g.mul(signal, direction[0])? };
    let products = g.mul(moved, x)?;
    let products = g.sum_axes(products, &[1])?;
    let Some(&bias) = direction.get(1) else { return Ok(products) };
    let bias = g.reshape(bias, [1, g.shape(bias).len()])?;
    let of_bias = g.matmul_t(signal, bias, false, true)?;
    g.add(products, of_bias)
}

/// The same in a dense layer along the gradient of all examples, D = Σⱼ δⱼxⱼᵀ and d = Σⱼ δⱼ, without it: Σⱼ (δᵢ·δⱼ)(xᵢ·xⱼ + 1), the 1 for
/// a bias.
fn among_examples(g: &mut Graph, layer: Resolved, bias: bool) -> Result<ValueId> {
    let mut inputs = g.matmul_t(layer.x, layer.x, false, true)?;
    if bias {
        inputs = g.add_scalar(inputs, 1.0)?;
    }
    let signals = g.matmul_t(layer.signal, layer.signal, false, true)?;
    let products = g.mul(signals, inputs)?;
    g.sum_axes(products, &[1])
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
    if let (true, Some(row)) = (needs.has(Need::Rounding), layout.row(Part::SignalCounts)) {
        let rows = layout.signal_counts.len();
        let counts = g.input(names::SIGNAL_COUNTS, Type::real([layout.signal_counts_len(), BINS]))?;
        let segments = g.input(names::SIGNAL_SEGMENTS, Type::index([rows, 2]))?;
        let table = g.input("table.signals", Type::real([rows, BINS]))?;
        places.push((table, table_place(layout, row)));
        g.apply(FoldCounts { accumulate: true }, &[counts, segments, table])?;
    }
    compile("measure", &g, &places)
}

/// The buffer of the segments of fold number i.
pub(in crate::run) fn segments_name(i: usize) -> String {
    format!("{}.{i}", names::TAP_SEGMENTS)
}
