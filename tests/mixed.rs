//! Half precision: numbers rounded as numpy rounds them.

mod instances;

use instances::cases::{Bound, Case};
use instances::gpu::{Checks, Gpu};
use instances::reference::Input;
use steepest::base::{Shape, Type, half_bits, round_to_half};
use steepest::graph::Graph;
use steepest::ops::pointwise::{Arg, Code, Fun, Pointwise};

/// Numbers of single precision, and the bits of what they are in half precision.
fn goldens() -> Vec<(f32, u16)> {
    let text = include_str!("goldens/half.json");
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let bits = |x: &serde_json::Value| x.as_u64().unwrap() as u32;
    let pairs = json["pairs"].as_array().unwrap().iter();
    pairs.map(|pair| (f32::from_bits(bits(&pair[0])), bits(&pair[1]) as u16)).collect()
}

/// Whether these bits are those; one NaN is as good as another.
fn same(found: u16, expected: u16) -> bool {
    let is_nan = |bits: u16| bits & 0x7fff > 0x7c00;
    found == expected || (is_nan(found) && is_nan(expected))
}

#[test]
fn the_cpu_rounds_as_numpy_does() {
    let goldens = goldens();
    assert!(goldens.len() > 1500);
    for (single, half) in goldens {
        let found = [half_bits(f64::from(single)), half_bits(f64::from(round_to_half(single)))];
        assert!(found.iter().all(|&found| same(found, half)), "{single:e}: {found:x?}, numpy has {half:#x}");
    }
}

#[test]
fn a_gpu_rounds_and_stores_as_numpy_does() {
    let Some(gpu) = Gpu::or_skip("a_gpu_rounds_and_stores_as_numpy_does") else { return };
    let goldens = goldens();
    let op = Pointwise { code: Code::single(Fun::Half, &[Arg::In(0)]), shape: Shape::from([goldens.len()]) };
    let case = Case::new(op, vec![Type::real([goldens.len()])], Bound::Exact);
    let outputs = case.outputs();
    let words: Vec<u32> = goldens.iter().map(|(single, _)| single.to_bits()).collect();
    let work = case.op.gpu(&case.inputs, &outputs);
    for checks in [Checks::On, Checks::Off] {
        let found = gpu
            .run(&work, std::slice::from_ref(&words), &[(Input::word_count(&outputs[0]), None)], &case.step, checks)
            .remove(0);
        for (i, &(single, half)) in goldens.iter().enumerate() {
            let bits = (found[i / 2] >> (16 * (i % 2))) as u16;
            assert!(same(bits, half), "{single:e}: {bits:#x}, numpy has {half:#x}");
        }
    }
}

#[test]
fn what_does_not_take_half_precision_says_so() {
    let mut g = Graph::new();
    let x = g.input("x", Type::real([4, 6])).unwrap();
    let h = g.half(x).unwrap();
    assert_eq!((g.ty(h), g.half(h).unwrap()), (Type::half([4, 6]), h));
    let error = g.softmax(h).unwrap_err().to_string();
    assert!(error.contains("softmax") && error.contains("Half"), "{error}");
    let wide = g.widened(h).unwrap();
    assert_eq!(g.ty(wide), Type::real([4, 6]));
    assert!(g.softmax(wide).is_ok());
}
