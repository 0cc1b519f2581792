//! Runs in mixed precision: against single precision, against each other on CPU and GPU, with overflow, growth and underflow.

mod training;

use steepest::base::round_to_half;
use steepest::config::Config;
use steepest::data::{Splits, digits};
use steepest::exec::GpuOptions;
use steepest::run::{Step, Trainer};
use training::{config, first_digits, on_cpu, on_gpu, on_gpu_with};

/// The unit roundoff of half precision.
const U: f64 = 1.0 / 2048.0;

const DIGITS: &str = "model.layers = [{ kind = 'linear', out = 128 }, 'relu', { kind = 'linear', out = 64 }, 'relu', \
    { kind = 'linear', out = 10 }]\ntrain.seed = 3\n";

fn of(text: &str, more: &str) -> Config {
    config(&format!("{text}{more}"))
}

fn mixed(text: &str, more: &str) -> Config {
    of(text, &format!("train.precision = 'mixed'\n{more}"))
}

fn steps(trainer: &mut Trainer, count: usize) -> Vec<Step> {
    (0..count).map(|_| trainer.step().unwrap().clone()).collect()
}

fn losses(steps: &[Step]) -> Vec<f64> {
    steps.iter().map(|step| step.values.loss()).collect()
}

fn weights(trainer: &mut Trainer) -> Vec<f64> {
    trainer.params().unwrap().into_iter().flat_map(|tensor| tensor.values).collect()
}

/// The largest distance of two series, each over max(1, value).
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max)
}

/// Pictures of 784 numbers in ten classes, from the digits: each as it is, twelve times and a quarter.
fn wide() -> Splits {
    let all = first_digits(256).train;
    let steepest::data::Targets::Classes { labels, classes } = all.targets().clone() else { panic!("classes") };
    let x = ndarray::Array2::from_shape_fn((256, 784), |(i, j)| all.x()[[i, j % 64]] * (1.0 + (j / 64) as f32) / 13.0);
    training::only(
        steepest::data::Dataset::new("wide", x, steepest::data::Targets::Classes { labels, classes }).unwrap(),
    )
}

const WIDE: &str = "model.layers = [{ kind = 'linear', out = 512 }, 'relu', { kind = 'linear', out = 512 }, 'relu', \
    { kind = 'linear', out = 10 }]\ntrain.seed = 1\ntrain.batch = 64\ntrain.optimizer = 'sgd'\ntrain.lr = 0.05\n";

/// Each of the three products of the forward pass rounds both factors, by u each, and so each logit is off by 2·3·u of the sizes of its
/// terms, the loss by twice that; what gradients are off by moves the weights by as much of each step. Over tens of steps that is a drift
/// of the same order: 16·u of max(1, loss) bounds all of it, and single precision itself is far within.
const TRACKS: f64 = 16.0 * U;

/// Its name, changes of its config, data, steps.
type Run = (&'static str, &'static str, fn() -> Splits, usize);

#[test]
fn losses_track_those_of_single_precision() {
    let runs: [Run; 4] = [
        ("digits, sgd", "train.optimizer = 'sgd'\ntrain.lr = 0.1\n", || digits().unwrap(), 60),
        ("digits, adam", "train.optimizer = 'adam'\ntrain.lr = 0.001\n", || digits().unwrap(), 60),
        ("digits, accumulated and clipped", "train.micro_batch = 8\ntrain.clip_norm = 0.5\n", || digits().unwrap(), 40),
        ("784-512-512-10", "", wide, 30),
    ];
    for (what, more, splits, count) in runs {
        let text = if what.starts_with("784") { WIDE } else { DIGITS };
        let [mut single, mut half] =
            [of(text, more), mixed(text, more)].map(|config| on_cpu::<f32>(&config, splits(), 2));
        let [a, b] = [&mut single, &mut half].map(|trainer| steps(trainer, count));
        let off = distance(&losses(&b), &losses(&a));
        println!(
            "{what}: losses differ by {off:.1e}, the bound is {TRACKS:.1e}; {} to {}",
            a[0].values.loss(),
            a[count - 1].values.loss()
        );
        assert!(off < TRACKS && off > 0.0, "{what}: {off}");
        assert!(a[count - 1].values.loss() < 0.97 * a[0].values.loss(), "{what} learns");
        // What is recorded bears no scale.
        for id in ["grad_norm", "signal", "tensor_grad_max", "noise_trace", "activation_rms"] {
            let off = distance(b[0].values.get(id), a[0].values.get(id));
            assert!(off < 0.02, "{what}: {id} is off by {off} in the first step");
            let ratio = b[0].values.get(id)[0] / a[0].values.get(id)[0];
            assert!((ratio - 1.0).abs() < 0.02, "{what}: {id} by a factor of {ratio}");
        }
        assert!(b.iter().all(|step| step.non_finite.is_none() && step.values.scalar("skipped_steps") == 0.0));
        assert_eq!(b[0].values.scalar("loss_scale"), 65536.0);
        assert!(a[0].values.get("loss_scale").is_empty());
    }
}

/// Sums of other order round to other halves now and then: where they do, a number is off by 2u. What that does to a loss is bounded as
/// above.
#[test]
fn a_cpu_plays_what_a_gpu_does() {
    for (text, more, splits, count) in [
        (DIGITS, "train.optimizer = 'adam'\ntrain.lr = 0.001\n", first_digits as fn(usize) -> Splits, 30),
        (DIGITS, "train.micro_batch = 8\ntrain.clip_norm = 0.5\nprobes.preset = 'full'\n", first_digits, 20),
        (WIDE, "", |_| wide(), 12),
    ] {
        let config = mixed(text, more);
        let Some(mut gpu) = on_gpu(&config, splits(300)) else { return };
        let mut cpu = on_cpu::<f32>(&config, splits(300), 2);
        let [a, b] = [&mut cpu, &mut gpu].map(|trainer| steps(trainer, count));
        let off = distance(&losses(&b), &losses(&a));
        println!("{more:?}: losses differ by {off:.1e}, the bound is {TRACKS:.1e}");
        assert!(off < TRACKS, "{more}: {off}");
        for id in ["grad_norm", "signal", "activation_rms", "tensor_grad_norm", "dead_units", "signal_lost"] {
            let off = distance(b[0].values.get(id), a[0].values.get(id));
            assert!(off < 4.0 * U, "{more}: {id} is off by {off} in the first step");
        }
        assert_eq!(b[count - 1].values.scalar("loss_scale"), a[count - 1].values.scalar("loss_scale"));
    }
}

/// Kernels of half precision run as one with others, and give the same bits.
#[test]
fn bundled_kernels_give_the_same_bits() {
    let config = mixed(DIGITS, "probes.preset = 'full'\ntrain.optimizer = 'adam'\n");
    let run = |bundled| {
        let options = GpuOptions { bundled: Some(bundled), ..GpuOptions::default() };
        let mut trainer = on_gpu_with(&config, first_digits(100), &options)?;
        let values: Vec<u64> =
            steps(&mut trainer, 6).iter().flat_map(|step| step.values.flat().to_vec()).map(f64::to_bits).collect();
        Some((values, weights(&mut trainer)))
    };
    let Some(whole) = run(true) else { return };
    assert!(Some(whole) == run(false));
}

/// The scale halves with each overflow, and such a step moves nothing; then training goes on. On CPU and GPU.
#[test]
fn overflow_skips_a_step_and_halves_the_scale() {
    let config = mixed(
        DIGITS,
        "train.optimizer = 'adam'\ntrain.lr = 0.001\ntrain.batch = 'full'\ntrain.loss_scale_start = 16777216\n",
    );
    let trainers = [Some(on_cpu::<f32>(&config, first_digits(32), 1)), on_gpu(&config, first_digits(32))];
    for mut trainer in trainers.into_iter().flatten() {
        let (mut expected, mut skipped, mut before) = (16_777_216.0, 0.0, weights(&mut trainer));
        let start = before.clone();
        let mut first = None;
        for i in 0..12 {
            let step = trainer.step().unwrap().clone();
            let after = weights(&mut trainer);
            assert_eq!(step.values.scalar("loss_scale"), expected, "step {i}");
            let overflows = step.values.get("tensor_grad_non_finite").iter().any(|&count| count > 0.0);
            assert_eq!(after == before, overflows, "step {i} moves what it should");
            if overflows {
                (expected, skipped) = (expected / 2.0, skipped + 1.0);
                assert_eq!(step.values.scalar("update_ratio"), 0.0);
            } else {
                first.get_or_insert(after.iter().zip(&start).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max));
            }
            assert_eq!((step.values.scalar("skipped_steps"), step.non_finite), (skipped, None), "step {i}");
            before = after;
        }
        println!("{skipped} of 12 steps skipped, the scale is {expected}");
        assert!((2.0..8.0).contains(&skipped) && trainer.verdicts().iter().all(|verdict| verdict.id != "non_finite"));
        // Adam's first update is η·g/(|g| + ε): steps that were skipped do not count, or it would be half of that.
        let first = first.unwrap();
        assert!((first / 0.001 - 1.0).abs() < 0.01, "the first update is {first}");
    }
}

#[test]
fn the_scale_grows_after_good_steps_and_a_fixed_one_stays() {
    let scales = |more: &str| {
        let config = mixed(DIGITS, more);
        let mut trainer = on_cpu::<f32>(&config, first_digits(64), 1);
        steps(&mut trainer, 12).iter().map(|step| step.values.scalar("loss_scale")).collect::<Vec<f64>>()
    };
    let [low, middle, high] = [[1024.0; 5], [2048.0; 5], [4096.0; 5]];
    let expected = [&low[..], &middle, &high[..2]].concat();
    assert_eq!(scales("train.loss_scale_start = 1024\ntrain.loss_scale_growth = 5\n"), expected);
    assert_eq!(scales("train.loss_scale = 256\n"), [256.0; 12]);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_all_the_same() {
    let config = mixed(DIGITS, "train.optimizer = 'sgd'\ntrain.lr = 1e30\n");
    let mut trainer = on_cpu::<f32>(&config, first_digits(64), 1);
    let found = steps(&mut trainer, 6).iter().position(|step| step.non_finite.is_some());
    assert!(found.is_some());
    let before = weights(&mut trainer);
    trainer.step().unwrap();
    let same = weights(&mut trainer).iter().zip(&before).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "once halted, weights stand still");
}

#[test]
fn runs_repeat_bit_for_bit_on_any_number_of_threads() {
    let config = mixed(DIGITS, "train.loss_scale_start = 16777216\nprobes.preset = 'full'\n");
    let run = |threads| {
        let mut trainer = on_cpu::<f32>(&config, first_digits(200), threads);
        let values: Vec<u64> =
            steps(&mut trainer, 20).iter().flat_map(|step| step.values.flat().to_vec()).map(f64::to_bits).collect();
        (values, weights(&mut trainer))
    };
    let one = run(1);
    assert!(one == run(1) && one == run(3));
}

/// Softmax of Wx + b less the targets, over the rows, times the scale: what half precision makes of it is counted on the host.
#[test]
fn underflow_is_counted_as_on_the_host() {
    let scale = f64::exp2(-16.0);
    let text =
        "model.layers = [{ kind = 'linear', out = 10 }]\ntrain.batch = 'full'\ntrain.lr = 0.1\nprobes.underflow = 1\n";
    let config = mixed(text, &format!("train.loss_scale = {scale}\n"));
    let data = first_digits(64);
    let (x, labels) = (data.train.x().to_owned(), data.train.targets().clone());
    let steepest::data::Targets::Classes { labels, .. } = labels else { panic!("classes") };
    let mut trainer = on_cpu::<f32>(&config, data, 1);
    let tensors = trainer.params().unwrap();
    let step = trainer.step().unwrap().clone();
    let (mut lost, mut subnormal, mut there) = (0.0, 0.0, 0.0);
    for (row, &label) in x.rows().into_iter().zip(&labels) {
        let logit = |class: usize| {
            let weights = &tensors[0].values[class * 64..][..64];
            let terms = row.iter().zip(weights).map(|(&x, &w)| round_to_half(f64::from(x)) * round_to_half(w));
            tensors[1].values[class] + terms.sum::<f64>()
        };
        let powers: Vec<f64> = (0..10).map(|class| logit(class).exp()).collect();
        let sum: f64 = powers.iter().sum();
        for (class, power) in powers.iter().enumerate() {
            let signal = scale / 64.0 * (power / sum - f64::from(u8::from(class as u32 == label)));
            let held = round_to_half(signal).abs();
            there += 1.0;
            lost += f64::from(u8::from(held == 0.0));
            subnormal += f64::from(u8::from(held > 0.0 && held < f64::exp2(-14.0)));
        }
    }
    println!("{lost} lost, {subnormal} subnormal of {there}");
    assert!(lost > 10.0 && subnormal > 100.0 && subnormal < there - 10.0);
    // A number at the very edge may fall to the other side in single precision.
    let off = |id: &str, count: f64| (step.values.get(id)[0] * there - count).abs();
    assert!(off("signal_lost", lost) < 1.5, "{:?}", step.values.get("signal_lost"));
    assert!(off("signal_subnormal", subnormal) < 1.5, "{:?}", step.values.get("signal_subnormal"));
    let single = on_cpu::<f32>(&of(text, ""), first_digits(64), 1);
    assert!(single.agenda().groups().len() == 1, "single precision loses nothing, and measures nothing of it");
}

/// The verdict on a loss scale that is too small, and that there is none once the scale is dynamic.
#[test]
fn dynamic_scaling_mends_underflow() {
    let text = "train.batch = 'full'\ntrain.optimizer = 'sgd'\ntrain.lr = 0.1\n";
    let lost = |scale: &str| {
        let mut trainer = on_cpu::<f32>(&mixed(DIGITS, &format!("{text}{scale}")), first_digits(500), 2);
        let last = steps(&mut trainer, 120).pop().unwrap();
        let verdict = trainer.verdicts().into_iter().find(|verdict| verdict.id == "half_underflow");
        (last.values.get("signal_lost").to_vec(), verdict)
    };
    let (small, verdict) = lost("train.loss_scale = 0.0009765625\n");
    let verdict = verdict.expect("a scale of 2⁻¹⁰ is too small");
    assert!(
        small.iter().any(|&share| share > 0.2) && verdict.layer.is_some() && verdict.since.is_some(),
        "{verdict:?}"
    );
    assert_eq!(verdict.remedies[0].changes[0].value, "\"dynamic\"");
    let (dynamic, verdict) = lost("");
    println!("lost with 2⁻¹⁰: {small:?}, with a dynamic scale: {dynamic:?}");
    assert!(dynamic.iter().all(|&share| share < 1e-3) && verdict.is_none(), "{dynamic:?}, {verdict:?}");
}

/// Activations and signals of hidden layers take half of the bytes.
#[test]
fn private_memory_halves() {
    let bytes = |config: &Config| {
        let trainer = on_cpu::<f32>(config, wide(), 1);
        let blueprint = trainer.blueprint();
        (blueprint.gradients().private_bytes(4) as f64, blueprint.gradients().to_string())
    };
    let text = WIDE.replace("train.batch = 64", "train.batch = 256");
    let deep = text.replace(
        "{ kind = 'linear', out = 10 }",
        &format!("{}{{ kind = 'linear', out = 10 }}", "{ kind = 'linear', out = 512 }, 'relu', ".repeat(6)),
    );
    // Beside activations there are halves of the weights, a copy for the products, which single precision does without.
    let weights = 2.0 * (784.0 * 512.0 + 7.0 * 512.0 * 512.0 + 5120.0);
    for preset in ["off", "default"] {
        let more = format!("probes.preset = '{preset}'\n");
        let (single, _) = bytes(&of(&deep, &more));
        let (half, text) = bytes(&mixed(&deep, &more));
        println!("{preset}: {single} bytes in single precision, {half} in mixed, {weights} of them halves of weights");
        assert!(half - weights < 0.75 * single, "{preset}");
        assert!(text.contains("half precision"));
    }
}
