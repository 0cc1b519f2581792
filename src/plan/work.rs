//! How much a step of a plan does: what its speed is told by.

use super::Step;
use crate::base::{DType, Type};
use crate::ops::gather::GatherRows;
use crate::ops::matmul::MatMul;
use std::any::Any;

impl Step {
    /// Floating-point operations of a matrix product, two for each term; none for other ops, which memory bounds.
    pub fn flops(&self) -> Option<f64> {
        let op: &dyn Any = self.op.as_ref();
        let product = op.downcast_ref::<MatMul>()?;
        let e = product.extents(self.inputs[0].ty.shape, self.inputs[1].ty.shape).ok()?;
        Some(2.0 * (e.batch * e.m) as f64 * (e.n * e.k) as f64)
    }

    /// Bytes of what it reads and writes, each input and output once. Of rows that are picked, only those count.
    pub fn bytes(&self, scalar_bytes: usize) -> f64 {
        let bytes = |ty: &Type| {
            let each = match ty.dtype {
                DType::Real => scalar_bytes,
                DType::Half => 2,
                DType::Index => 4,
            };
            (each * ty.shape.len()) as f64
        };
        let op: &dyn Any = self.op.as_ref();
        let (mut inputs, outputs) = (self.input_types(), self.output_types());
        if op.is::<GatherRows>() {
            inputs[0] = outputs[0];
        }
        inputs.iter().chain(&outputs).map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Place, compile};
    use super::*;
    use crate::graph::Graph;

    #[test]
    fn products_count_terms_and_the_rest_bytes() {
        let mut g = Graph::new();
        let data = g.input("data", Type::real([1000, 5])).unwrap();
        let index = g.input("index", Type::index([3])).unwrap();
        let x = g.gather_rows(data, index).unwrap();
        let w = g.input("w", Type::real([5, 7])).unwrap();
        let y = g.matmul(x, w).unwrap();
        let plan = compile("work", &g, &[(y, Place::whole("y", g.ty(y)))]).unwrap();
        let [gather, product] = &plan.steps[..] else { panic!("{plan}") };
        assert_eq!((gather.flops(), product.flops()), (None, Some(2.0 * 3.0 * 5.0 * 7.0)));
        assert_eq!(gather.bytes(4), 4.0 * (15.0 + 3.0 + 15.0));
        assert_eq!(product.bytes(8), 8.0 * (15.0 + 35.0 + 21.0));
    }
}
