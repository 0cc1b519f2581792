//! Where the readings of a step lie on the device: records of taps, the table that they are folded into, its rows.

use super::table::{Agenda, Due, Need, Needs};
use crate::base::Shape;
use crate::ops::histogram::BINS;
use crate::ops::record::RECORD;
use crate::ops::stats::TapStats;
use std::ops::Range;

/// Rows between two parts of a buffer of records: 8 records are 256 bytes, which every adapter can bind at.
const ALIGN: usize = 8;

/// How many products there are of each tensor.
const DOTS: usize = 3;

/// Rows of the table that a histogram takes.
const BINS_ROWS: usize = BINS / RECORD;

/// The next row at which a part of a record buffer may begin.
pub fn aligned(row: usize) -> usize {
    row.next_multiple_of(ALIGN)
}

/// The records of one tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSpan {
    /// The first record.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// What some rows of the table are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Activations behind each layer.
    Activations,
    /// The signal at each layer.
    Signals,
    /// Units of each layer whose activation can leave them dead, then saturated activations of each that saturates.
    Units,
    /// Examples of each resolved layer.
    Examples,
    /// The gradient of micro-batches, of each tensor of the layers whose noise follows from that.
    Micros,
    /// The loss.
    Loss,
    /// Losses of examples, times their shares.
    Losses,
    /// Products of each example's gradient with the mean gradient.
    Projections,
    /// Products of each example's gradient with the last update.
    Slopes,
    /// Gradient, weights and update of each tensor.
    Params,
    /// Variance of the partial derivatives of each layer.
    Variance,
    /// The same with something added to each variance.
    Stopping,
    /// Of each tensor: products of gradient and last gradient; of gradient and last update; of last gradient and last update.
    /// [`Layout::dot`] tells the rows apart.
    Dots,
    /// The last update of each tensor.
    LastUpdate,
    /// How far each tensor is from where it began.
    Distance,
    /// Histograms of the activations behind each layer.
    ActivationCounts,
    /// Histograms of the gradient of each layer.
    GradientCounts,
    /// Histograms of the weights of each layer.
    WeightCounts,
    /// The scale of the loss, and what became of the step.
    Scaling,
    /// Histograms of the scaled signal at each layer as half precision has it, then of the same before it was rounded.
    SignalCounts,
}

/// What is folded of taps beside the records of every layer, and what needs it.
const TAPPED: [(Need, &[Part]); 4] = [
    (Need::Units, &[Part::Units]),
    (Need::Examples, &[Part::Examples, Part::Micros]),
    (Need::Projections, &[Part::Projections]),
    (Need::Slopes, &[Part::Losses, Part::Slopes]),
];

const PARTS: usize = Part::SignalCounts as usize + 1;

/// Tap records that are folded into neighbouring rows of the table at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    /// What they are of.
    pub parts: Vec<Part>,
    /// The records of each row. The loss is a row without.
    pub spans: Vec<RecordSpan>,
    /// The first row.
    pub row: usize,
}

impl Fold {
    /// What has to be due for it; none for that of every step.
    pub fn need(&self) -> Option<Need> {
        let of = TAPPED.iter().find(|(_, parts)| self.parts.first() == parts.first());
        of.filter(|_| !self.parts.contains(&Part::Loss)).map(|(need, _)| *need)
    }

    /// First record and one past the last of each row: what the fold reads.
    pub fn segments(&self) -> Vec<u32> {
        let ends = self.spans.iter().flat_map(|span| [span.first, span.first + span.count]);
        ends.map(|record| record as u32).collect()
    }
}

/// What tells the noise of a layer, or of one of its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scattered {
    /// The layer.
    pub layer: usize,
    /// How many records a micro-batch has of it.
    pub records: usize,
}

/// A layer whose noise is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noisy {
    /// The layer.
    pub layer: usize,
    /// Whether its noise is told from micro-batches, else from single examples.
    pub by_micro: bool,
    /// Its rows of the table.
    pub rows: Range<usize>,
}

/// What is tapped of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tapped {
    /// The shape of the activations behind each layer.
    pub activations: Vec<Shape>,
    /// The shape of what each layer gives.
    pub outputs: Vec<Shape>,
    /// The layers whose activation can leave units dead.
    pub rectified: Vec<usize>,
    /// The layers whose activation saturates.
    pub bounded: Vec<usize>,
    /// The resolved layers: those where gradients of single examples are known.
    pub resolved: Vec<Scattered>,
    /// The tensors of other layers, where every batch but the last of an epoch is several micro-batches.
    pub by_micro: Vec<Scattered>,
    /// How many parameter tensors there are.
    pub tensors: usize,
    /// Whether batches are accumulated from micro-batches.
    pub accumulates: bool,
    /// Whether the loss is scaled, in mixed precision.
    pub is_scaled: bool,
}

impl Tapped {
    /// How many layers are tapped by one op. In mixed precision each is by itself: values are widened for it, and those of several layers
    /// would have to wait for each other.
    pub fn together(&self) -> usize {
        if self.is_scaled { 1 } else { TapStats::LAYERS_MAX }
    }
}

/// The layout of tap records, counts and table.
///
/// The first rows are those of every step's taps, with the loss last; behind them, each part where every adapter can bind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What is tapped.
    pub tapped: Tapped,
    /// Folds of tap records: the first is that of every step.
    pub folds: Vec<Fold>,
    /// Records in the tap buffer.
    pub records: usize,
    /// The rows of counts of the activations behind each layer.
    pub counts: Vec<RecordSpan>,
    /// Those of the signal at each layer as it is stored, then as it was before.
    pub signal_counts: Vec<RecordSpan>,
    /// The first row of each part, where there is one.
    starts: [Option<usize>; PARTS],
    rows: usize,
}

/// Rows of counts of values of these shapes, each from where every adapter can bind it.
fn spans_of_counts(shapes: &[Shape]) -> Vec<RecordSpan> {
    let mut first = 0;
    let span = |shape: &Shape| {
        let span = RecordSpan { first, count: TapStats::groups(shape) };
        first = aligned(first + span.count);
        span
    };
    shapes.iter().map(span).collect()
}

/// One past the last row of these.
fn end_of(spans: &[RecordSpan]) -> usize {
    spans.last().map_or(0, |span| span.first + span.count)
}

impl Layout {
    /// The layout for what is tapped, and when.
    pub fn new(tapped: Tapped, agenda: &Agenda) -> Self {
        let accumulates = tapped.accumulates;
        let mut layout = Self {
            tapped,
            folds: vec![],
            records: 0,
            counts: vec![],
            signal_counts: vec![],
            starts: [None; PARTS],
            rows: 0,
        };
        // Products with the gradient of a batch need that gradient first: with the last of several micro-batches it is there, but
        // the examples of those before have gone.
        let possible = |needs: Needs| if accumulates { needs.without(Need::Projections) } else { needs };
        let [every, ever] = [agenda.needs(Due::default()), agenda.needs_ever()].map(possible);
        layout.fold_every_step(every);
        let apart = |need| ever.has(need) && !every.has(need);
        for (_, parts) in TAPPED.iter().filter(|(need, _)| apart(*need)) {
            layout.fold(parts);
        }
        let (tensors, layers) = (layout.tapped.tensors, layout.tapped.outputs.len());
        let of_arenas = [
            (Need::Records, Part::Params, tensors),
            (Need::Squares, Part::Variance, layers),
            (Need::Squares, Part::Stopping, layers),
            (Need::Last, Part::LastUpdate, tensors),
            (Need::Initial, Part::Distance, tensors),
        ];
        for (_, part, rows) in of_arenas.into_iter().filter(|(need, ..)| ever.has(*need)) {
            layout.rows = aligned(layout.rows);
            layout.take(part, rows);
        }
        if layout.tapped.is_scaled {
            layout.rows = aligned(layout.rows);
            layout.take(Part::Scaling, 1);
        }
        if ever.has(Need::Last) {
            layout.rows = aligned(layout.rows);
            layout.take(Part::Dots, DOTS * aligned(tensors));
        }
        if ever.has(Need::Counts) {
            for part in [Part::ActivationCounts, Part::GradientCounts, Part::WeightCounts] {
                layout.rows = aligned(layout.rows);
                layout.take(part, BINS_ROWS * layout.tapped.activations.len());
            }
            layout.counts = spans_of_counts(&layout.tapped.activations);
        }
        if ever.has(Need::Rounding) {
            layout.rows = aligned(layout.rows);
            layout.take(Part::SignalCounts, 2 * BINS_ROWS * layers);
            layout.signal_counts = spans_of_counts(&layout.tapped.outputs.repeat(2));
        }
        // An empty buffer cannot be bound.
        layout.records = layout.records.max(1);
        layout
    }

    fn take(&mut self, part: Part, rows: usize) {
        self.starts[part as usize] = Some(self.rows);
        self.rows += rows;
    }

    fn span(&mut self, count: usize) -> RecordSpan {
        let span = RecordSpan { first: self.records, count };
        self.records += count;
        span
    }

    /// Taps of the layers of one [`TapStats`] lie behind each other, layer by layer.
    fn fold_every_step(&mut self, needs: Needs) {
        let mut fold = Fold::default();
        if needs.has(Need::Records) {
            let mut signals = Vec::new();
            for layer in 0..self.tapped.activations.len() {
                if layer % self.tapped.together() == 0 {
                    self.records = aligned(self.records);
                }
                let shapes = [self.tapped.activations[layer], self.tapped.outputs[layer]];
                let [forward, signal] = shapes.map(|shape| self.span(TapStats::groups(&shape)));
                fold.spans.push(forward);
                signals.push(signal);
            }
            fold.spans.append(&mut signals);
            self.take(Part::Activations, self.tapped.activations.len());
            self.take(Part::Signals, self.tapped.activations.len());
            fold.parts.extend([Part::Activations, Part::Signals]);
        }
        for &part in TAPPED.iter().filter(|(need, _)| needs.has(*need)).flat_map(|(_, parts)| *parts) {
            self.spans(part, &mut fold);
        }
        self.take(Part::Loss, 1);
        fold.parts.push(Part::Loss);
        fold.spans.push(RecordSpan { first: 0, count: 0 });
        self.folds.push(fold);
    }

    /// Records and rows of a part, at the end of a fold.
    fn spans(&mut self, part: Part, fold: &mut Fold) {
        let batch = self.tapped.outputs.first().map_or(0, |shape| shape.dim(0));
        let counts: Vec<usize> = match part {
            Part::Units => {
                let bounded = self.tapped.bounded.iter().map(|&layer| TapStats::groups(&self.tapped.outputs[layer]));
                self.tapped.rectified.iter().map(|_| 1).chain(bounded).collect()
            }
            Part::Examples => self.tapped.resolved.iter().map(|of| of.records).collect(),
            Part::Micros => self.tapped.by_micro.iter().map(|of| of.records).collect(),
            _ => vec![TapStats::groups(&Shape::from([batch, 1]))],
        };
        self.take(part, counts.len());
        for count in counts {
            self.records = aligned(self.records);
            let span = self.span(count);
            fold.spans.push(span);
        }
        fold.parts.push(part);
    }

    fn fold(&mut self, parts: &[Part]) {
        self.rows = aligned(self.rows);
        let mut fold = Fold { row: self.rows, ..Fold::default() };
        for &part in parts {
            self.spans(part, &mut fold);
        }
        if !fold.spans.is_empty() {
            self.folds.push(fold);
        }
    }

    /// The first row of a part; none if the table has none of it.
    pub fn row(&self, part: Part) -> Option<usize> {
        self.starts[part as usize]
    }

    /// The first row of product `which` of the tensors; none if the table has none.
    pub fn dot(&self, which: usize) -> Option<usize> {
        Some(self.row(Part::Dots)? + which * aligned(self.tapped.tensors))
    }

    /// The layers whose noise is measured, each with its rows of the table: of one part where it is resolved, else of the other.
    pub fn noisy(&self) -> Vec<Noisy> {
        let rows = |part, of: &[Scattered]| {
            let first = self.row(part).unwrap_or(0);
            let rows = of.iter().enumerate();
            rows.map(|(i, of)| (of.layer, part == Part::Micros, first + i)).collect::<Vec<_>>()
        };
        let mut rows =
            [rows(Part::Examples, &self.tapped.resolved), rows(Part::Micros, &self.tapped.by_micro)].concat();
        rows.sort_unstable();
        let mut layers: Vec<Noisy> = Vec::new();
        for (layer, by_micro, row) in rows {
            match layers.last_mut() {
                Some(last) if last.layer == layer => last.rows.end = row + 1,
                _ => layers.push(Noisy { layer, by_micro, rows: row..row + 1 }),
            }
        }
        layers
    }

    /// How many rows of counts there are.
    pub fn counts_len(&self) -> usize {
        end_of(&self.counts)
    }

    /// How many rows of counts of signals there are.
    pub fn signal_counts_len(&self) -> usize {
        end_of(&self.signal_counts)
    }

    /// The records of a part that is tapped: those of each of its rows.
    pub fn records_of(&self, part: Part) -> &[RecordSpan] {
        let fold = self.folds.iter().find(|fold| fold.parts.contains(&part));
        let Some((fold, row)) = fold.zip(self.row(part)) else { return &[] };
        &fold.spans[row - fold.row..]
    }

    /// Elements of the whole table.
    pub fn table_len(&self) -> usize {
        RECORD * self.rows
    }
}
