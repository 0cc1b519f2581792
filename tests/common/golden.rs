//! The golden values that `tests/goldens/ops.py` wrote.

use super::case::{Case, Data};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// All golden tensors by name: `case/what`.
pub struct Goldens {
    tensors: BTreeMap<String, (Vec<usize>, Data)>,
}

impl Goldens {
    pub fn load() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/ops.safetensors");
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = SafeTensors::deserialize(&bytes).expect("a file of tensors");
        let tensors = file.iter().map(|(name, view)| {
            let data = match view.dtype() {
                Dtype::F64 => Data::Real(words(view.data()).map(f64::from_le_bytes).collect()),
                Dtype::U32 => Data::Index(words(view.data()).map(u32::from_le_bytes).collect()),
                other => panic!("{name} holds {other:?}"),
            };
            (name.to_owned(), (view.shape().to_vec(), data))
        });
        Self { tensors: tensors.collect() }
    }

    /// The names of the cases.
    pub fn names(&self) -> BTreeSet<&str> {
        self.tensors.keys().filter_map(|key| key.split_once('/')).map(|(case, _)| case).collect()
    }

    /// A tensor: its shape and its numbers.
    pub fn get(&self, case: &str, what: &str) -> (&[usize], &Data) {
        let (shape, data) = self.tensors.get(&format!("{case}/{what}")).unwrap_or_else(|| panic!("no {case}/{what}"));
        (shape, data)
    }

    /// A tensor of real numbers.
    pub fn real(&self, case: &str, what: &str) -> &[f64] {
        self.get(case, what).1.real()
    }

    /// The inputs of a case.
    pub fn inputs(&self, case: &Case) -> Vec<Data> {
        (0..case.inputs.len()).map(|i| self.get(&case.name, &format!("in{i}")).1.clone()).collect()
    }

    /// One tensor for each real input: `grad`, `direction`, `second`.
    pub fn per_real(&self, case: &Case, what: &str) -> Vec<Data> {
        (0..case.reals().len()).map(|i| self.get(&case.name, &format!("{what}{i}")).1.clone()).collect()
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.chunks_exact(N).map(|word| word.try_into().expect("N bytes"))
}
