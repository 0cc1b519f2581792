//! What came of a run: layers, scores, time, files.

use super::number::{bytes, count, counted, duration, percent, significant};
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use super::{layers, profile};
use crate::run::RunEnd;
use crate::run::checkpoint::CHECKPOINT_FILE;
use crate::run::flight::FLIGHT_FILE;
use crate::run::folder::ENVIRONMENT_FILE;
use crate::run::record::STEPS_FILE;
use crate::run::schema::SCHEMA_FILE;
use crate::run::summary::{NoiseSummary, PartSummary, SUMMARY_FILE, Summary};
use crate::verdict::RULES;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// What the files of a run folder are. Others are listed too, without a word.
const FILES: [(&str, &str); 9] = [
    ("config.toml", "the settings, defaults too"),
    (ENVIRONMENT_FILE, "version, command, device, system"),
    (STEPS_FILE, "gradient statistics of every step"),
    (SCHEMA_FILE, "what the columns of the statistics are"),
    (FLIGHT_FILE, "the last steps before something happened, whole"),
    ("preprocessing.json", "how the data was prepared"),
    ("model.safetensors", "the weights"),
    (CHECKPOINT_FILE, "what the run goes on from, by train --resume"),
    (SUMMARY_FILE, "what is shown here, for scripts"),
];

/// Records of other cadences: how their names begin and end, and what they are.
const OTHERS: [(&str, &str, &str); 2] =
    [("steps.", ".jsonl", "what was measured at some steps only"), ("steps.", ".schema.json", "what its columns are")];

fn is_other(&(start, end, _): &(&str, &str, &str), name: &str) -> bool {
    name.starts_with(start) && name.ends_with(end)
}

/// Everything about a run that has ended.
pub fn text(end: &RunEnd, style: Style) -> String {
    let mut text = String::new();
    let heading =
        |word: &str, of: String| format!("{}{}", style.paint(word, Paint::Bold), style.paint(&of, Paint::Dim));
    if !end.layers.is_empty() {
        let layers_of = heading("layers", format!(" in the last step, {}", count(end.summary.steps)));
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "\n{layers_of}\n{}", layers::table(&end.layers, style));
    }
    let findings = layers::findings(&end.verdicts, end.layers.len(), style);
    if !findings.is_empty() {
        let _ = write!(text, "\n{findings}");
    }
    let scores = scores(&end.summary, style);
    if !scores.is_empty() {
        let _ = write!(text, "\n{}\n{scores}", heading("scores", scores_of(&end.summary)));
    }
    if let Some(profile) = &end.summary.profile {
        let _ = write!(text, "\n{}", profile::text(profile, style));
    }
    let _ = write!(text, "\n{}", facts(&end.summary, style));
    let _ = write!(
        text,
        "\n{}\n{}",
        style.paint(&end.folder.display().to_string(), Paint::Bold),
        files(&end.folder, style)
    );
    text
}

/// Which weights the scores are of. The loss of the training part is no score of them: it was summed up on the way.
fn scores_of(summary: &Summary) -> String {
    let of = match &summary.best {
        Some(best) if best.kept => format!("the best weights (step {})", count(best.step)),
        _ => "the last weights".to_owned(),
    };
    format!(" of {of}; training: mean of the last epoch")
}

/// A row for each part of the data, a column for each score that one of them has.
fn scores(summary: &Summary, style: Style) -> String {
    let parts = [("training", &summary.train), ("validation", &summary.validation), ("test", &summary.test)];
    let parts: Vec<(&str, Vec<(String, String)>)> =
        parts.iter().filter_map(|(name, part)| Some((*name, part_scores(part.as_ref()?)))).collect();
    // The part with the most scores has them in the order of reading; the others have some of them.
    let fullest = parts.iter().map(|(_, scores)| scores).max_by_key(|scores| scores.len());
    let columns: Vec<&str> = fullest.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    if columns.is_empty() {
        return String::new();
    }
    let headings = std::iter::once(("", Align::Left)).chain(columns.iter().map(|&name| (name, Align::Right)));
    let mut table = Table::new(headings);
    for (name, scores) in &parts {
        let paint = if *name == "test" { Paint::Bold } else { Paint::Plain };
        let cell = |column: &&str| {
            let found = scores.iter().find(|(score, _)| score == column);
            Cell::painted(found.map_or("", |(_, value)| value), paint)
        };
        table.row(std::iter::once(Cell::from(*name)).chain(columns.iter().map(cell)));
    }
    table.render(style)
}

fn part_scores(part: &PartSummary) -> Vec<(String, String)> {
    let number = |name: &str, x: Option<f64>| x.map(|x| (name.to_owned(), significant(x)));
    let share = |name: &str, x: Option<f64>| x.map(|x| (name.to_owned(), percent(x)));
    let examples = part.examples.map(|n| ("examples".to_owned(), count(n)));
    let top = part.top_k.iter().map(|(k, &x)| (format!("top {k}"), percent(x)));
    let mut scores: Vec<_> = examples.into_iter().chain(number("loss", part.loss)).collect();
    scores.extend(share("accuracy", part.accuracy));
    scores.extend(top);
    scores.extend(share("macro F1", part.macro_f1));
    scores.extend(number("R²", part.r2));
    scores.extend(number("MAE", part.mae));
    scores.extend(number("RMSE", part.rmse));
    scores
}

fn facts(summary: &Summary, style: Style) -> String {
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, text: String| table.row([Cell::painted(name, Paint::Dim), text.into()]);
    let (steps, epochs) = (counted(summary.steps, "step"), significant(summary.epochs));
    row("ended", format!("after {steps} ({epochs} epochs): {}", reason(&summary.stopped_by)));
    let speed =
        summary.examples_per_second.map_or(String::new(), |n| format!(", {} examples/s", count(n.round() as u64)));
    let time = Duration::try_from_secs_f64(summary.seconds).unwrap_or_default();
    row("time", format!("{}{speed}", duration(time)));
    if let Some(best) = &summary.best {
        let value = significant(best.value.unwrap_or(f64::NAN));
        let (step, epoch) = (count(best.step), significant(best.epoch));
        row("best", format!("{} {value} after step {step}, epoch {epoch}", best.metric));
    }
    if let Some(noise) = &summary.noise {
        row("noise", noise_of(noise));
    }
    table.render(style)
}

/// `noise scale 123 (95 % 90 to 160) in the last 500 steps: the batch of 32 is below it, those of 90 to 160 are worth their steps`.
fn noise_of(noise: &NoiseSummary) -> String {
    let whole = |x: Option<f64>| x.map_or("∞".to_owned(), |x| count(x.round() as u64));
    let [low, high] = noise.batches.map(whole);
    let (scale, batch) = (whole(noise.scale), count(noise.batch as u64));
    let of = format!("scale {scale} (95 % {low} to {high}) in the last {}", counted(noise.steps, "step"));
    let place = match noise.batch_is.as_str() {
        "about" => "is of its size".to_owned(),
        word => format!("is {word} it"),
    };
    format!("{of}: the batch of {batch} {place}; {low} to {high} are worth their steps and examples")
}

/// Why a run ended, in a sentence; a word that has none stands for itself.
fn reason(stopped_by: &str) -> &str {
    match stopped_by {
        "epochs" => "all epochs are done",
        "max_steps" => "train.max_steps is reached",
        "max_time" => "train.max_time is over",
        "patience" => "the validation loss did not get better any more",
        "non_finite" => "a value was not finite any more",
        other if RULES.iter().any(|rule| rule.id == other) => "a verdict of verdicts.stop_on was reached",
        other => other,
    }
}

/// The files of a run folder in the order of [`FILES`], each with its size and what it is.
fn files(folder: &Path, style: Style) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(usize, String, u64)> = entries
        .filter_map(|entry| {
            let facts = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let known = FILES.iter().position(|(known, _)| *known == name);
            let place = known.or_else(|| OTHERS.iter().position(|it| is_other(it, &name)).map(|i| FILES.len() + i));
            let place = place.unwrap_or(FILES.len() + OTHERS.len());
            Some((place, name, facts.len()))
        })
        .collect();
    files.sort();
    let mut table = Table::new([("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    for (place, name, size) in files {
        let what = FILES.iter().map(|file| file.1).chain(OTHERS.map(|file| file.2)).nth(place).unwrap_or_default();
        table.row([name.into(), bytes(size).into(), Cell::painted(what, Paint::Dim)]);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::summary::BestSummary;
    use crate::verdict::Grade;

    #[test]
    fn a_result_has_layers_scores_facts_and_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SUMMARY_FILE), "{}").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        std::fs::write(folder.path().join(STEPS_FILE), "x".repeat(2048)).unwrap();
        let part = |accuracy| PartSummary { accuracy: Some(accuracy), loss: Some(0.1), ..PartSummary::default() };
        let summary = Summary {
            train: Some(PartSummary { loss: Some(0.05), ..PartSummary::default() }),
            test: Some(PartSummary { top_k: [(5, 1.0)].into(), ..part(0.975) }),
            steps: 1350,
            epochs: 30.0,
            seconds: 1.5,
            stopped_by: "epochs".into(),
            best: Some(BestSummary {
                metric: "validation.loss".into(),
                value: Some(0.07),
                step: 1200,
                epoch: 26.667,
                kept: true,
            }),
            noise: Some(NoiseSummary {
                steps: 675,
                scale: Some(123.4),
                batches: [Some(90.2), None],
                batch: 32,
                batch_is: "below".into(),
                ..NoiseSummary::default()
            }),
            ..Summary::default()
        };
        let rows = vec![layers::tests::row("0", "vanishing", 1e-6), layers::tests::row("2", "healthy", 1.0)];
        let verdicts = vec![layers::tests::verdict("vanishing", Grade::Fault, &["0"])];
        let end = RunEnd { summary, folder: folder.path().into(), layers: rows, verdicts, test: None };
        let text = text(&end, Style::PLAIN);
        assert!(text.contains("\n  vanishing in layer 0: little of the signal arrives here.\n"), "{text}");
        assert!(text.contains("              loss  accuracy     top 5\n  training  0.0500\n"), "{text}");
        assert!(text.contains("  test       0.100   97.50 %  100.00 %\n"), "{text}");
        assert!(text.contains("  best   validation.loss 0.0700 after step 1,200, epoch 26.7\n"), "{text}");
        let noise =
            "  noise  scale 123 (95 % 90 to ∞) in the last 675 steps: the batch of 32 is below it; 90 to ∞ are worth";
        assert!(text.contains(noise), "{text}");
        assert!(text.contains("layers in the last step, 1,350\n"), "{text}");
        assert!(text.contains("scores of the best weights (step 1,200); training: mean of the last epoch\n"), "{text}");
        let files = "  steps.jsonl   2.00 KiB  gradient statistics of every step\n  summary.json       2 B  \
                     what is shown here, for scripts\n  notes.txt          0 B\n";
        assert!(text.ends_with(files), "{text}");
    }
}
