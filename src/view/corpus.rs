//! The table of the corpus, and its rows as CSV.

use super::number::{counted, significant};
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use crate::base::{Error, Result};
use crate::study::corpus::{CONTROL_SCORE, Class, FaultLine, Kind, Rate, Report, Row, SCORE_SHARE};
use crate::verdict::Grade;
use std::fmt::Write as _;

/// The table: faults, then runs that have none.
pub fn text(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let head = format!("recall on the {} architectures", report.set.word());
    let of = format!(
        "{} runs of {}, {} of them with a control that reaches {CONTROL_SCORE}; seed {}",
        report.runs,
        counted(report.architectures as u64, "architecture"),
        report.fit,
        report.seed
    );
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "{}\n  {of}\n", style.paint(&head, Paint::Bold));
    text.push_str(&faults(report, style));
    let severities: Vec<String> = report.severities.iter().map(share).collect();
    let _ = writeln!(text, "\n  by severity, mild to extreme: {}", severities.join(", "));
    let _ = writeln!(
        text,
        "  faulty: below {SCORE_SHARE} of the control's score; right: the right verdict at the right layer, give or take one; \
         of other tools: the right kind / any alarm"
    );
    let _ = writeln!(text, "\n{}", style.paint("alarms on runs without a fault", Paint::Bold));
    text.push_str(&controls(report, style));
    text.push_str(
        "  intervals are Wilson's, at 95 %; in brackets: without the rules on overfitting and the range of features\n",
    );
    text
}

fn faults(report: &Report, style: Style) -> String {
    let tries = report.all().repaired.of > 0;
    let mut columns: Vec<(String, Align)> = vec![("fault".into(), Align::Left)];
    let numbers = ["injected", "faulty", "right", "95 %", "as fault"];
    columns.extend(numbers.map(|name| (name.to_owned(), Align::Right)));
    columns.extend(report.tools.map(|name| (name.to_owned(), Align::Right)));
    if tries {
        columns.extend(["repaired", "95 %"].map(|name| (name.to_owned(), Align::Right)));
    }
    let mut table = Table::new(columns);
    for line in &report.faults {
        let is_all = line.name == "all";
        let cells = cells(line, tries).into_iter();
        table.row(cells.map(|text| Cell::painted(text, if is_all { Paint::Bold } else { Paint::Plain })));
    }
    table.render(style)
}

fn cells(line: &FaultLine, tries: bool) -> Vec<String> {
    let mut cells = vec![
        line.name.to_owned(),
        line.injected.to_string(),
        line.found.of.to_string(),
        share(&line.found),
        interval(&line.found),
        share(&line.found_as_fault),
    ];
    cells.extend(line.tools.iter().map(|tool| {
        if tool.any.of == 0 { "-".to_owned() } else { format!("{} / {}", share(&tool.right), share(&tool.any)) }
    }));
    if tries {
        let shown = if line.repaired.of == 0 { "-".to_owned() } else { share(&line.repaired) };
        cells.extend([shown, interval(&line.repaired)]);
    }
    cells
}

fn controls(report: &Report, style: Style) -> String {
    let mut columns: Vec<(String, Align)> = vec![("runs".into(), Align::Left)];
    columns.extend(["count", "alarms", "95 %", "advice"].map(|name| (name.to_owned(), Align::Right)));
    columns.extend(report.tools.map(|name| (name.to_owned(), Align::Right)));
    let mut table = Table::new(columns);
    for line in &report.controls {
        let mut cells = vec![
            line.name.to_owned(),
            line.alarms.of.to_string(),
            share(&line.alarms),
            interval(&line.alarms),
            share(&line.advice),
        ];
        let tools = line.tools.iter().zip(&line.tools_narrow);
        cells.extend(tools.map(|(any, narrow)| format!("{} ({})", share(any), share(narrow))));
        table.row(cells.into_iter().map(Cell::from));
    }
    table.render(style)
}

/// A share in whole percent, one decimal where it is near an end.
fn share(rate: &Rate) -> String {
    match rate.share.map(|share| 100.0 * share) {
        None => "-".into(),
        Some(percent) if percent.fract() == 0.0 => format!("{percent:.0} %"),
        Some(percent) => format!("{percent:.1} %"),
    }
}

fn interval(rate: &Rate) -> String {
    rate.interval.map_or(String::new(), |[low, high]| format!("{:.0}–{:.0} %", 100.0 * low, 100.0 * high))
}

/// Every run, a line each.
///
/// # Errors
/// If the rows cannot be written, which would be a bug.
pub fn csv(report: &Report) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut head = vec!["name", "class", "fault", "severity", "layer", "score", "control_score", "loss_share", "found"];
    head.extend(["verdicts", "repair", "repaired_score"]);
    head.extend(report.tools);
    let failed = |error: csv::Error| Error::failure("csv", error);
    writer.write_record(&head).map_err(failed)?;
    for row in &report.rows {
        writer.write_record(fields(row)).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| Error::failure("csv", error))
}

fn fields(row: &Row) -> Vec<String> {
    let (fault, severity, layer) = match &row.kind {
        Kind::Faulty { fault, severity, layer } => {
            (fault.spec().name, severity.to_string(), layer.map_or(String::new(), |layer| layer.to_string()))
        }
        _ => ("", String::new(), String::new()),
    };
    let verdict = |said: &crate::study::corpus::Said| {
        let place = said.layer.map_or(String::new(), |layer| format!("@{layer}"));
        let mark = if said.grade == Grade::Fault { "" } else { "?" };
        format!("{}{place}{mark}", said.id)
    };
    let repair = row.repair.as_ref();
    let mut fields = vec![
        row.name.clone(),
        class(row.class).to_owned(),
        fault.to_owned(),
        severity,
        layer,
        significant(row.score),
        significant(row.control_score),
        significant(row.loss_share),
        row.is_found.to_string(),
        row.verdicts.iter().map(verdict).collect::<Vec<_>>().join(" "),
        repair.and_then(|repair| repair.what.clone()).unwrap_or_default(),
        repair.map_or(String::new(), |repair| significant(repair.score)),
    ];
    fields.extend(
        row.tools
            .iter()
            .map(|kinds| kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect::<Vec<_>>().join(" ")),
    );
    fields
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Healthy => "healthy",
        Class::Converged => "converged",
        Class::Faulty => "faulty",
        Class::Harmless => "harmless",
        Class::Unfit => "unfit",
    }
}
