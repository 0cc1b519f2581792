//! What tuning found, for people.

use super::number::{counted, significant};
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use crate::study::tune::{GAIN_MIN, Timed, TunedProduct, Tuning};
use std::fmt::Write as _;

/// A line for each product: the heuristic's choice, the best one, and what it gains.
pub fn text(tuning: &Tuning, style: Style) -> String {
    let Tuning { name, device, kind, products, file } = tuning;
    let mut text = format!("{name} on {device} ({kind})\n");
    if products.is_empty() {
        let why = if kind == "cpu" {
            "There is nothing to tune: the CPU has one kernel, which cuts its work by the shape alone."
        } else {
            "There is nothing to tune: the run has no matrix products."
        };
        return format!("{text}{why}\n");
    }
    let mut table = Table::new([
        ("product", Align::Left),
        ("uses", Align::Right),
        ("table's kernel", Align::Left),
        ("GFLOP/s", Align::Right),
        ("best", Align::Left),
        ("GFLOP/s", Align::Right),
        ("gain", Align::Right),
        ("taken", Align::Left),
    ]);
    for product in products {
        table.row(row(product));
    }
    text += &table.render(style);
    let seconds = |of: fn(&TunedProduct) -> &Timed| -> f64 {
        products.iter().map(|product| of(product).seconds * product.uses as f64).sum()
    };
    let [before, after] =
        [seconds(|it| &it.table), seconds(|it| if it.chosen == it.best.kernel { &it.best } else { &it.table })];
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\nAll of them once, as often as the plans use them: {} ms by the table, {} ms with what is taken.\nThe table's choice \
         stays where less than {:.0} % is gained.",
        significant(before * 1e3),
        significant(after * 1e3),
        (GAIN_MIN - 1.0) * 100.0
    );
    for product in products {
        for (kernel, why) in &product.refused {
            let word = style.paint("refused:", Paint::Yellow);
            let _ = writeln!(text, "{word} {kernel} for {}: {why}", product.product);
        }
    }
    let _ = match file {
        Some(file) => writeln!(
            text,
            "Kept in {} for runs on this device. Kernels differ in rounding: with device.deterministic = true a run takes those \
             of the table.",
            file.display()
        ),
        None => writeln!(text, "Nothing is kept: there is no cache folder."),
    };
    text
}

fn row(product: &TunedProduct) -> [Cell; 8] {
    let TunedProduct { product: name, uses, table, best, chosen, .. } = product;
    let gain = format!("{:.2}", product.gain());
    let taken = if *chosen == table.kernel { Cell::from("table's") } else { Cell::painted("best", Paint::Green) };
    [
        name.as_str().into(),
        uses.to_string().into(),
        table.kernel.as_str().into(),
        significant(table.gflops).into(),
        best.kernel.as_str().into(),
        significant(best.gflops).into(),
        gain.into(),
        taken,
    ]
}

/// How many products there are, for the end of the progress line.
pub fn summary(tuning: &Tuning) -> String {
    counted(tuning.products.len() as u64, "product")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuning() -> Tuning {
        let timed = |kernel: &str, seconds: f64| Timed { kernel: kernel.into(), seconds, gflops: 1e-3 / seconds };
        let product = TunedProduct {
            product: "matmul NN 1 x 8x8x8".into(),
            uses: 2,
            table: timed("tile-32x32", 2e-3),
            best: timed("tile-16x16/2", 1e-3),
            chosen: "tile-16x16/2".into(),
            candidates: 5,
            refused: vec![("direct-8x64".into(), "element 3 is 1 where 2 is right within 0.1".into())],
        };
        Tuning {
            name: "net".into(),
            device: "card".into(),
            kind: "discrete".into(),
            products: vec![product],
            file: Some("/cache/kernels.json".into()),
        }
    }

    #[test]
    fn each_product_has_a_line() {
        let shown = text(&tuning(), Style::PLAIN);
        for part in [
            "net on card (discrete)",
            "matmul NN 1 x 8x8x8     2  tile-32x32        0.500  tile-16x16/2     1.00  2.00  best",
            "4.00 ms by the table, 2.00 ms with what is taken",
            "refused: direct-8x64 for matmul NN 1 x 8x8x8: element 3 is 1",
            "Kept in /cache/kernels.json",
        ] {
            assert!(shown.contains(part), "no `{part}` in\n{shown}");
        }
    }

    #[test]
    fn on_a_cpu_there_is_nothing_to_tune() {
        let none = Tuning { kind: "cpu".into(), products: Vec::new(), file: None, ..tuning() };
        assert!(text(&none, Style::PLAIN).contains("nothing to tune: the CPU has one kernel"));
    }
}
