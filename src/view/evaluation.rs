//! The scores of a model: tables for people, CSV and JSON for programs.

use super::number::{count, percent, significant};
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use crate::base::{Error, Result};
use crate::run::metrics::{ClassificationScore, RegressionScore};
use crate::run::{Evaluation, Score};
use serde_json::{Value, json};

/// A confusion matrix with more classes than this is wider than a screen.
const CLASSES_MAX: usize = 24;

/// Scores, and with classes the scores of each and the confusion matrix. `names` are those of the classes or outputs; what has no name
/// has its number.
pub fn text(evaluation: &Evaluation, names: Option<&[String]>, style: Style) -> String {
    match &evaluation.score {
        Score::Classes(score) => {
            let names = labels(names, score.classes.len());
            let confusion = confusion(score, &names, style);
            let parts = [overall_classes(evaluation.loss, score, style), classes(score, &names, style), confusion];
            parts.join("\n")
        }
        Score::Values(score) => values(evaluation.loss, score, names, style),
    }
}

/// The names, or numbers where there are none.
fn labels(names: Option<&[String]>, n: usize) -> Vec<String> {
    match names {
        Some(names) if names.len() == n => names.to_vec(),
        _ => (0..n).map(|i| i.to_string()).collect(),
    }
}

fn overall_classes(loss: f64, score: &ClassificationScore, style: Style) -> String {
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, text: String| table.row([Cell::painted(name, Paint::Dim), text.into()]);
    row("examples", count(score.examples));
    row("loss", significant(loss));
    row("accuracy", percent(score.accuracy));
    for (k, share) in &score.top_k {
        row(&format!("top {k}"), percent(*share));
    }
    row("macro F1", percent(score.macro_f1));
    row("weighted F1", percent(score.weighted_f1));
    if score.undecided > 0 {
        row("undecided", format!("{}, their outputs were not finite", count(score.undecided)));
    }
    table.render(style)
}

fn classes(score: &ClassificationScore, names: &[String], style: Style) -> String {
    let numbers = ["examples", "precision", "recall", "F1"].map(|heading| (heading, Align::Right));
    let mut table = Table::new([("class", Align::Left)].into_iter().chain(numbers));
    for (name, class) in names.iter().zip(&score.classes) {
        let shares = [class.precision, class.recall, class.f1].map(|share| percent(share).into());
        table.row([name.clone().into(), count(class.support).into()].into_iter().chain(shares));
    }
    table.render(style)
}

/// A row for each true class, a column for each predicted one.
fn confusion(score: &ClassificationScore, names: &[String], style: Style) -> String {
    let n = names.len();
    if n > CLASSES_MAX {
        return format!("  The confusion matrix of {n} classes is too wide for a screen: --csv and --json have it.\n");
    }
    let columns = names.iter().map(|name| (name.clone(), Align::Right));
    let mut table = Table::new(std::iter::once(("true \\ predicted".to_owned(), Align::Left)).chain(columns));
    for (target, (name, row)) in names.iter().zip(&score.confusion).enumerate() {
        let cell = |(prediction, &n): (usize, &u64)| match n {
            0 => Cell::painted("·", Paint::Dim),
            _ => Cell::painted(count(n), if prediction == target { Paint::Green } else { Paint::Red }),
        };
        table.row(std::iter::once(name.clone().into()).chain(row.iter().enumerate().map(cell)));
    }
    table.render(style)
}

fn values(loss: f64, score: &RegressionScore, names: Option<&[String]>, style: Style) -> String {
    let headings = ["R²", "MAE", "RMSE"].map(|heading| (heading, Align::Right));
    let mut table = Table::new([("output", Align::Left)].into_iter().chain(headings));
    let mut row = |name: String, score: &crate::run::metrics::OutputScore| {
        let r2 = score.r2.map_or("–".into(), significant);
        table.row([name.into(), r2.into(), significant(score.mae).into(), significant(score.rmse).into()]);
    };
    if score.outputs.len() > 1 {
        labels(names, score.outputs.len()).into_iter().zip(&score.outputs).for_each(|(name, output)| row(name, output));
    }
    row("all".into(), &score.overall);
    let overall = format!("  {}, loss {}\n\n", super::number::counted(score.examples, "example"), significant(loss));
    overall + &table.render(style)
}

/// All scores as JSON: `loss`, those of the task, and the names of the classes or outputs.
pub fn to_json(evaluation: &Evaluation, names: Option<&[String]>) -> Value {
    let (scores, key) = match &evaluation.score {
        Score::Classes(score) => (json!(score), "class_names"),
        Score::Values(score) => (json!(score), "output_names"),
    };
    let mut all = json!({ "loss": evaluation.loss });
    if let (Value::Object(all), Value::Object(scores)) = (&mut all, scores) {
        all.extend(scores);
        all.extend(names.map(|names| (key.to_owned(), json!(names))));
    }
    all
}

/// A line for each class, with its row of the confusion matrix, or for each output.
///
/// # Errors
/// If a name cannot be written.
pub fn to_csv(evaluation: &Evaluation, names: Option<&[String]>) -> Result<Vec<u8>> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    match &evaluation.score {
        Score::Classes(score) => {
            let names = labels(names, score.classes.len());
            let head = ["class", "examples", "precision", "recall", "f1"].map(str::to_owned).into_iter();
            lines.push(head.chain(names.iter().map(|name| format!("predicted {name}"))).collect());
            for ((name, class), row) in names.iter().zip(&score.classes).zip(&score.confusion) {
                let shares = [class.precision, class.recall, class.f1].map(|share| share.to_string());
                let cells = [name.clone(), class.support.to_string()].into_iter().chain(shares);
                lines.push(cells.chain(row.iter().map(u64::to_string)).collect());
            }
        }
        Score::Values(score) => {
            lines.push(["output", "r2", "mae", "rmse"].map(str::to_owned).to_vec());
            for (name, output) in labels(names, score.outputs.len()).into_iter().zip(&score.outputs) {
                let r2 = output.r2.map_or(String::new(), |r2| r2.to_string());
                lines.push(vec![name, r2, output.mae.to_string(), output.rmse.to_string()]);
            }
        }
    }
    csv_text(&lines)
}

/// Lines of cells as CSV.
///
/// # Errors
/// If the lines have not as many cells each.
pub fn csv_text(lines: &[Vec<String>]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    lines.iter().try_for_each(|line| writer.write_record(line)).map_err(|error| Error::failure("CSV", error))?;
    writer.into_inner().map_err(|error| Error::failure("CSV", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::metrics::{Classification, Regression};

    fn classifier() -> Evaluation {
        let mut metrics = Classification::new(2, &[1]);
        metrics.add(&[1.0, 0.0, 1.0, 0.0, 0.0, 1.0], &[0, 1, 1]);
        Evaluation { loss: 0.5, score: Score::Classes(metrics.score()) }
    }

    #[test]
    fn classes_have_scores_and_a_matrix() {
        let names = ["cat".to_owned(), "dog, wet".to_owned()];
        let text = text(&classifier(), Some(&names), Style::PLAIN);
        let matrix = "  true \\ predicted  cat  dog, wet\n  cat                 1         ·\n  dog, wet            1         1\n";
        assert!(text.ends_with(matrix), "{text}");
        assert!(text.contains("  accuracy     66.67 %\n"), "{text}");
        let csv = String::from_utf8(to_csv(&classifier(), Some(&names)).unwrap()).unwrap();
        assert!(
            csv.starts_with("class,examples,precision,recall,f1,predicted cat,\"predicted dog, wet\"\ncat,1,0.5,1,"),
            "{csv}"
        );
        let json = to_json(&classifier(), Some(&names));
        assert_eq!((&json["loss"], &json["confusion"][1]), (&json!(0.5), &json!([1, 1])));
        assert_eq!(json["class_names"][0], "cat");
    }

    #[test]
    fn classes_without_names_have_numbers() {
        assert!(text(&classifier(), None, Style::PLAIN).contains("  true \\ predicted  0  1\n"));
    }

    #[test]
    fn values_have_errors() {
        let mut metrics = Regression::new(2);
        metrics.add(&[1.0, 2.0, 3.0, 5.0], &[1.0, 2.0, 3.0, 4.0]);
        let evaluation = Evaluation { loss: 0.25, score: Score::Values(metrics.score()) };
        let text = text(&evaluation, None, Style::PLAIN);
        assert!(text.starts_with("  2 examples, loss 0.250\n\n  output     R²    MAE   RMSE\n  0"), "{text}");
        let csv = |names| String::from_utf8(to_csv(&evaluation, names).unwrap()).unwrap();
        assert_eq!(csv(None), "output,r2,mae,rmse\n0,1,0,0\n1,0.5,0.5,0.7071067811865476\n");
        // The targets have the names of their columns, where there are any.
        let names = ["height".to_owned(), "weight, wet".to_owned()];
        assert!(
            super::text(&evaluation, Some(&names), Style::PLAIN).contains("\n  weight, wet  0.500  0.500  0.707\n")
        );
        assert!(csv(Some(&names)).contains("\nheight,1,0,0\n\"weight, wet\",0.5,"));
        assert_eq!(to_json(&evaluation, Some(&names))["output_names"][1], "weight, wet");
    }
}
