//! Where the statistics of a step lie on the device: records of taps, the table that they are folded into, its rows.

use crate::base::Shape;
use crate::ops::examples::ExampleStats;
use crate::ops::record::RECORD;
use crate::ops::stats::TapStats;

/// Rows between two parts of a buffer of records: 8 records are 256 bytes, which every adapter can bind at.
const ALIGN: usize = 8;

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

/// The layout of the tap records and of the table.
///
/// Table rows: the forward taps, the signal taps, the examples of dense layers, the loss; then, from [`Layout::params_row`] on, one row a parameter
/// tensor. Without statistics the loss is the only row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Tap records: the forward taps of all layers, the signal taps, the examples of dense layers. Taps of the layers of one
    /// [`TapStats`] lie behind each other, layer by layer.
    pub spans: Vec<RecordSpan>,
    /// Records in the tap buffer.
    pub records: usize,
    /// How many layers are tapped.
    pub layers: usize,
    /// How many dense layers have the norms of their examples' gradients measured.
    pub dense: usize,
    /// How many parameter tensors have rows.
    pub tensors: usize,
}

impl Layout {
    /// The layout for tapped values of these shapes (activation and pre-activation of each layer), so many dense layers whose
    /// examples are measured, and so many tensors.
    pub fn new(activations: &[Shape], pre_activations: &[Shape], dense: usize, tensors: usize) -> Self {
        let mut layout = Self { layers: activations.len(), dense, tensors, ..Self::default() };
        let mut signals = Vec::new();
        for (layer, (activation, pre_activation)) in activations.iter().zip(pre_activations).enumerate() {
            if layer % TapStats::LAYERS_MAX == 0 {
                layout.records = aligned(layout.records);
            }
            let mut span = |shape: &Shape| {
                let span = RecordSpan { first: layout.records, count: TapStats::groups(shape) };
                layout.records += span.count;
                span
            };
            let forward = span(activation);
            signals.push(span(pre_activation));
            layout.spans.push(forward);
        }
        layout.spans.append(&mut signals);
        for _ in 0..dense {
            let first = aligned(layout.records);
            let count = ExampleStats::groups(&pre_activations[0]);
            layout.spans.push(RecordSpan { first, count });
            layout.records = first + count;
        }
        // An empty buffer cannot be bound.
        layout.records = layout.records.max(1);
        layout
    }

    /// The segments that fold the tap records into the first rows; the loss row folds none.
    pub fn segments(&self) -> Vec<u32> {
        let spans = self.spans.iter().flat_map(|span| [span.first, span.first + span.count]);
        spans.chain([0, 0]).map(|record| record as u32).collect()
    }

    /// The row of the examples of the first dense layer; the others follow.
    pub fn examples_row(&self) -> usize {
        2 * self.layers
    }

    /// Rows that the gradient part of the step fills: taps, examples and loss.
    pub fn tap_rows(&self) -> usize {
        self.spans.len() + 1
    }

    /// The row of the loss.
    pub fn loss_row(&self) -> usize {
        self.spans.len()
    }

    /// The first row of the parameter tensors.
    pub fn params_row(&self) -> usize {
        aligned(self.tap_rows())
    }

    /// Elements of the whole table.
    pub fn table_len(&self) -> usize {
        RECORD * if self.tensors == 0 { self.tap_rows() } else { self.params_row() + self.tensors }
    }
}
