//! Linear regression: gradient descent arrives at the closed-form optimum, and diverges just above 2/λ_max.

mod training;

use steepest::config::Config;
use steepest::data::{Dataset, Linear, Optimum, Plane, Quadratic, Splits, Targets};
use training::{config, flat, losses, on_cpu, only};

fn linear() -> Splits {
    let source = Linear { examples: 512, features: 8, noise: 0.1, condition: 10.0, ..Linear::default() };
    source.load(11).unwrap()
}

/// The loss is the mean squared error, so the Hessian is 2/N·XᵀX, as [`Optimum`] has it.
fn descent(lr: f64, bias: bool) -> Config {
    config(&format!(
        "model.layers = [{{ kind = 'linear', out = 1, bias = {bias} }}]\n\
         [train]\nbatch = 'full'\noptimizer = 'sgd'\nlr = {lr:?}\nprecision = 'f64'"
    ))
}

/// The losses of so many steps, and the distances of parameters and loss from the optimum after them.
fn descend(splits: &Splits, lr: f64, bias: bool, steps: usize) -> (Vec<f64>, [f64; 2]) {
    let optimum = splits.optimum.as_ref().unwrap();
    let mut trainer = on_cpu::<f64>(&descent(lr, bias), splits.clone(), 1);
    let losses = losses(&mut trainer, steps);
    let params = trainer.params().unwrap();
    let found = params.iter().flat_map(|tensor| &tensor.values);
    let expected = optimum.weights.iter().chain(&optimum.bias);
    let distance = found.zip(expected).fold(0.0, |max: f64, (a, b)| max.max((a - b).abs()));
    let loss = (losses[steps - 1] - optimum.loss).abs();
    (losses, [distance, loss])
}

/// Where gradient descent with η = 1/λ_max has shrunk every distance to 1e-10 of itself.
fn steps_to_arrive(optimum: &Optimum) -> usize {
    (23.0 * optimum.condition()).ceil() as usize + 1
}

#[test]
fn gradient_descent_arrives_at_the_optimum() {
    let splits = linear();
    let optimum = splits.optimum.clone().unwrap();
    let steps = steps_to_arrive(&optimum);
    let (losses, errors) = descend(&splits, 1.0 / optimum.lambda_max(), true, steps);
    assert!(errors.iter().all(|&error| error < 1e-8), "after {steps} steps off by {errors:?}");
    assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-12)), "no step at 1/λ_max goes up");
    assert!(losses[0] > 1.1 * optimum.loss, "it started elsewhere");
}

#[test]
fn the_stability_edge_is_two_over_the_largest_curvature() {
    let quadratic = Quadratic { spectrum: vec![4.0, 2.0, 0.5], noise: 0.05, bias: false, ..Quadratic::default() };
    for (splits, bias) in [(linear(), true), (quadratic.load(3).unwrap(), false)] {
        let optimum = splits.optimum.clone().unwrap();
        let edge = 2.0 / optimum.lambda_max();
        let (losses, errors) = descend(&splits, 0.99 * edge, bias, 2000);
        assert!(errors.iter().all(|&error| error < 1e-8), "below the edge: off by {errors:?}");
        assert!(losses[1999] < losses[0]);
        // Along the steepest direction the distance grows by 1.02 a step.
        let (losses, _) = descend(&splits, 1.01 * edge, bias, 2000);
        let excess = |step: usize| losses[step] - optimum.loss;
        assert!(excess(1999) > 1e6 * excess(0), "above the edge: {} after {}", excess(1999), excess(0));
        let growth = (excess(1999) / excess(1899)).powf(0.01);
        assert!((growth / 1.02f64.powi(2) - 1.0).abs() < 1e-6, "the loss grows by {growth} a step");
    }
}

/// The parameters before and after one step of descent.
fn one_step(text: &str, splits: Splits) -> [Vec<f64>; 2] {
    let mut trainer = on_cpu::<f64>(&config(text), splits, 1);
    let before = flat(&trainer.params().unwrap());
    trainer.step().unwrap();
    [before, flat(&trainer.params().unwrap())]
}

/// With one row the gradient of the bias is the signal itself, of which the gradient of the weight is made.
#[test]
fn one_row_is_a_batch() {
    let targets = Targets::Values { values: vec![1.0], width: 1 };
    let data = Dataset::new("one", ndarray::array![[3.0, -2.0]], targets).unwrap();
    let text = "model.layers = [{ kind = 'linear', out = 1 }]\n\
                [train]\nbatch = 1\noptimizer = 'sgd'\nlr = 0.01\nprecision = 'f64'";
    let [before, after] = one_step(text, only(data));
    let error = 3.0 * before[0] - 2.0 * before[1] + before[2] - 1.0;
    for ((before, after), x) in before.iter().zip(&after).zip([3.0, -2.0, 1.0]) {
        assert!((after - (before - 0.01 * 2.0 * error * x)).abs() < 1e-14, "{before} {after}");
    }
}

/// The slope of the wells is y³ − y + tilt, and targets whose mean is 0 leave it so; one example adds its own.
#[test]
fn a_step_over_the_wells_follows_their_slope() {
    for (batch, rate) in [("'full'", 0.1), ("1", 0.1)] {
        let splits = Plane { examples: 64, noise: 2.0 }.load(4).unwrap();
        let Targets::Values { values, .. } = splits.train.targets() else { panic!("values") };
        let pulls: Vec<[f64; 2]> = values.chunks_exact(2).map(|pair| [pair[0].into(), pair[1].into()]).collect();
        let text = format!(
            "loss = {{ kind = 'wells', tilt = 0.2 }}\n\
             model.layers = [{{ kind = 'linear', out = 2, bias = false, init = {{ constant = 0.5 }} }}]\n\
             [train]\nbatch = {batch}\noptimizer = 'sgd'\nlr = {rate}\nprecision = 'f64'\nshuffle = false"
        );
        let [_, after] = one_step(&text, splits);
        for (j, after) in after.iter().enumerate() {
            let pull = if batch == "1" { pulls[0][j] } else { 0.0 };
            let expected = 0.5 - rate * (0.125 - 0.5 + 0.2 + pull);
            assert!((after - expected).abs() < 1e-7, "batch {batch}: {after}, not {expected}");
        }
    }
}
