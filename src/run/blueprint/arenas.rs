//! What is measured of whole arenas, as plans of their own: a step replays those that are due, between gradients and update.

use super::{accumulate, names, table_place};
use crate::base::{Result, Type};
use crate::graph::{Graph, Phase, ValueId};
use crate::ops::arenas::{Copy, DirectionStats, DistanceStats, Moved};
use crate::ops::histogram::{ArenaHistogram, BINS, FoldCounts};
use crate::ops::record::RECORD;
use crate::ops::stats::{CONTROL, Fold};
use crate::ops::variance::{StoppingStats, VarianceStats};
use crate::optim::{first_chunks, record_place};
use crate::plan::{Arena, CHUNK, Place, Plan, compile};
use crate::probe::{Layout, Need, Needs, Part};
use crate::run::EARLY_STOPPING_EPSILON;

/// Plans over whole arenas.
#[derive(Clone, Debug, Default)]
pub struct ArenaPlans {
    /// The sum of squares over micro-batches, behind the sum of gradients, with each micro-batch at which squares are due.
    pub squares: Option<Plan>,
    /// What meets a need, after the last micro-batch of a step at which that is due.
    pub measure: Vec<(Need, Plan)>,
    /// Keeps gradient and weights before the update, where the step after needs gradient and update of this one.
    pub retain: Option<Plan>,
    /// Makes the update of these weights, after it.
    pub moved: Option<Plan>,
}

impl ArenaPlans {
    /// The plans that meet `needs` where the gradients of a logical batch are in the arena `gradients`.
    pub(super) fn new(
        arena: &Arena,
        layout: &Layout,
        gradients: &'static str,
        accumulates: bool,
        needs: Needs,
    ) -> Result<Self> {
        let squares = if accumulates { names::SQUARE_SUMS } else { names::SQUARES };
        let has = |need| needs.has(need);
        let builder = || Builder::new(arena, layout, gradients);
        let mut plans = Self::default();
        if has(Need::Squares) {
            if accumulates {
                plans.squares = Some(accumulate(arena, names::SQUARE_SUMS, names::SQUARES, Phase::Statistics)?);
            }
            plans.measure.push((Need::Squares, builder()?.variance(squares)?));
        }
        if has(Need::Last) {
            plans.measure.push((Need::Last, builder()?.direction()?));
            plans.retain = Some(builder()?.retain()?);
            plans.moved = Some(builder()?.moved()?);
        }
        if has(Need::Counts) {
            plans.measure.push((Need::Counts, builder()?.histograms()?));
        }
        if has(Need::Initial) {
            plans.measure.push((Need::Initial, builder()?.distance()?));
        }
        Ok(plans)
    }

    /// Those between gradients and update.
    pub fn before_update(&self) -> impl Iterator<Item = &Plan> {
        self.squares.iter().chain(self.measure.iter().map(|(_, plan)| plan)).chain(&self.retain)
    }
}

/// A value for each part of an arena.
type Parts = Vec<ValueId>;

struct Builder<'a> {
    arena: &'a Arena,
    layout: &'a Layout,
    graph: Graph,
    places: Vec<(ValueId, Place)>,
    gradients: Parts,
    lengths: Parts,
    control: ValueId,
}

impl<'a> Builder<'a> {
    fn new(arena: &'a Arena, layout: &'a Layout, gradients: &str) -> Result<Self> {
        let mut graph = Graph::new();
        graph.set_phase(Phase::Statistics);
        let control = graph.input(names::CONTROL, Type::real([CONTROL]))?;
        let mut builder =
            Self { arena, layout, graph, places: Vec::new(), gradients: Parts::new(), lengths: Parts::new(), control };
        builder.gradients = builder.arena(gradients)?;
        builder.lengths = builder.of_chunks(names::LENGTHS)?;
        Ok(builder)
    }

    /// The parts of an arena.
    fn arena(&mut self, name: &str) -> Result<Parts> {
        let parts = self.arena.parts.iter().enumerate();
        parts.map(|(part, &len)| self.graph.input(&Arena::buffer(name, part), Type::real([len]))).collect()
    }

    /// An index for each chunk, part by part.
    fn of_chunks(&mut self, name: &str) -> Result<Parts> {
        let parts = self.arena.parts.iter().enumerate();
        parts.map(|(part, &len)| self.graph.input(&Arena::buffer(name, part), Type::index([len / CHUNK]))).collect()
    }

    fn chunks(&self) -> usize {
        self.arena.parts.iter().sum::<usize>() / CHUNK
    }

    /// Records of what is made of each part, folded into rows from `row` on, one for each of these segments.
    fn fold(&mut self, buffer: &str, records: &Parts, row: usize, segments: (&str, usize)) -> Result<()> {
        for (part, &records) in records.iter().enumerate() {
            self.places.push((records, record_place(self.arena, buffer, part)));
        }
        let (segments, rows) = segments;
        // Another source to the graph: what makes it come after the records is that a plan keeps the order of the nodes.
        let records = self.graph.input(buffer, Type::real([self.chunks(), RECORD]))?;
        let segments = self.graph.input(segments, Type::index([rows, 2]))?;
        let table = self.graph.input(&format!("table.{row}"), Type::real([rows, RECORD]))?;
        self.places.push((table, table_place(self.layout, row)));
        let fold = Fold { accumulate: false, loss: false };
        let outputs = self.graph.apply_all(fold, &[records, segments, table, self.control])?;
        self.control = outputs[1];
        Ok(())
    }

    /// Segments of the tensors.
    fn tensors(&self) -> (&'static str, usize) {
        (names::PARAM_SEGMENTS, self.arena.tensors.len())
    }

    /// Segments of the layers.
    fn layers(&self) -> (&'static str, usize) {
        (names::LAYER_SEGMENTS, self.layout.tapped.outputs.len())
    }

    fn row(&self, part: Part) -> usize {
        self.layout.row(part).expect("the layout has what is needed")
    }

    fn compile(self, name: &str) -> Result<Plan> {
        compile(name, &self.graph, &self.places)
    }

    fn variance(mut self, squares: &str) -> Result<Plan> {
        let squares = self.arena(squares)?;
        let owners = self.of_chunks(names::OWNERS)?;
        let layers = self.layers();
        let sizes = self.graph.input(names::LAYER_LENGTHS, Type::real([layers.1]))?;
        let parts = 0..self.arena.parts.len();
        let each = parts.clone().map(|p| [self.gradients[p], squares[p], self.lengths[p]]);
        let each: Vec<_> = each.collect();
        let records = each.iter().map(|inputs| self.graph.apply(VarianceStats, inputs)).collect::<Result<Parts>>()?;
        self.fold("records.variance", &records, self.row(Part::Variance), layers)?;
        let rows = self.graph.input("table.variance", Type::real([layers.1, RECORD]))?;
        self.places.push((rows, table_place(self.layout, self.row(Part::Variance))));
        let stopping = StoppingStats { relative: EARLY_STOPPING_EPSILON };
        let mut records = Parts::new();
        for (part, [g, squares, lengths]) in each.into_iter().enumerate() {
            let inputs = [g, squares, lengths, owners[part], sizes, rows];
            records.push(self.graph.apply(stopping.clone(), &inputs)?);
        }
        self.fold("records.stopping", &records, self.row(Part::Stopping), layers)?;
        self.compile("variance")
    }

    fn direction(mut self) -> Result<Plan> {
        let [last, update] = [self.arena(names::LAST_GRADIENTS)?, self.arena(names::LAST_UPDATE)?];
        let tensors = self.tensors();
        let mut records: [Parts; 4] = Default::default();
        for part in 0..self.arena.parts.len() {
            let inputs = [self.gradients[part], last[part], update[part], self.lengths[part]];
            let products = self.graph.apply_all(DirectionStats, &inputs)?;
            records.iter_mut().zip(products).for_each(|(records, product)| records.push(product));
        }
        let [gradients, along, along_last, updates] = &records;
        for (which, records) in [gradients, along, along_last].into_iter().enumerate() {
            let row = self.layout.dot(which).expect("it is needed");
            self.fold(&format!("records.dots.{which}"), records, row, tensors)?;
        }
        self.fold("records.last", updates, self.row(Part::LastUpdate), tensors)?;
        self.compile("direction")
    }

    fn retain(mut self) -> Result<Plan> {
        let params = self.arena(names::PARAMS)?;
        let of = [(names::LAST_GRADIENTS, self.gradients.clone()), (names::LAST_UPDATE, params)];
        for (name, parts) in of {
            for (part, value) in parts.into_iter().enumerate() {
                let copy = self.graph.apply(Copy, &[value])?;
                let place = Place::whole(Arena::buffer(name, part), self.graph.ty(copy));
                self.places.push((copy, place));
            }
        }
        self.compile("retain")
    }

    fn moved(mut self) -> Result<Plan> {
        let [params, before] = [self.arena(names::PARAMS)?, self.arena(names::LAST_UPDATE)?];
        for (before, now) in before.into_iter().zip(params) {
            self.graph.apply(Moved, &[before, now])?;
        }
        self.compile("moved")
    }

    fn histograms(mut self) -> Result<Plan> {
        let params = self.arena(names::PARAMS)?;
        let of = [
            ("counts.gradients", self.gradients.clone(), Part::GradientCounts),
            ("counts.params", params, Part::WeightCounts),
        ];
        for (buffer, parts, row) in of {
            for (part, value) in parts.into_iter().enumerate() {
                let counts = self.graph.apply(ArenaHistogram, &[value, self.lengths[part]])?;
                let (offset, len) = (first_chunks(self.arena)[part] * BINS, self.chunks() * BINS);
                self.places.push((counts, Place { buffer: buffer.to_owned(), offset, len }));
            }
            let counts = self.graph.input(buffer, Type::real([self.chunks(), BINS]))?;
            let (segments, layers) = self.layers();
            let segments = self.graph.input(segments, Type::index([layers, 2]))?;
            let table = self.graph.input(&format!("table.{buffer}"), Type::real([layers, BINS]))?;
            self.places.push((table, table_place(self.layout, self.row(row))));
            self.graph.apply(FoldCounts { accumulate: false }, &[counts, segments, table])?;
        }
        self.compile("histograms")
    }

    fn distance(mut self) -> Result<Plan> {
        let params = self.arena(names::PARAMS)?;
        let initial = self.arena(names::INITIAL_PARAMS)?;
        let mut records = Parts::new();
        for part in 0..self.arena.parts.len() {
            records.push(self.graph.apply(DistanceStats, &[params[part], initial[part], self.lengths[part]])?);
        }
        self.fold("records.distance", &records, self.row(Part::Distance), self.tensors())?;
        self.compile("distance")
    }
}
