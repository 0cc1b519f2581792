//! The nearest valid word to one that is not: what makes an error say "did you mean".

/// Names that other tools give to settings of ours.
const SYNONYMS: &[(&str, &str)] = &[
    ("batch_size", "batch"),
    ("beta1", "betas"),
    ("beta2", "betas"),
    ("dtype", "precision"),
    ("grad_clip", "clip_norm"),
    ("learning_rate", "lr"),
    ("max_grad_norm", "clip_norm"),
    ("negative_slope", "slope"),
    ("num_epochs", "epochs"),
    ("out_features", "out"),
    ("random_seed", "seed"),
    ("units", "out"),
    ("validation_split", "split"),
    ("wd", "weight_decay"),
];

/// The candidate that `word` most likely meant: the same but for case and dashes, a synonym, at most about a third of its
/// letters mistyped, or its beginning.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normalized(word);
    let synonym = SYNONYMS.iter().find(|(theirs, _)| *theirs == word).map(|&(_, ours)| ours);
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = match normalized(candidate) {
                same if same == word || synonym == Some(candidate) => 0,
                longer if word.chars().count() >= 2 && longer.starts_with(&word) => 1,
                other => distance(&word, &other),
            };
            (distance <= limit).then_some((distance, candidate))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// One sentence of help for a word that is none of the candidates.
pub(super) fn suggestion<'a>(word: &str, what: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, candidates.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("{what}: {}", candidates.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

fn normalized(word: &str) -> String {
    word.trim().to_lowercase().replace(['-', ' '], "_")
}

/// Letters to insert, delete, replace or swap with their neighbour to turn one word into the other (the optimal string
/// alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (a, b, n) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("lr", "rl", 1), ("same", "same", 0), ("ca", "abc", 3)]
        {
            assert_eq!(distance(a, b), n, "{a} {b}");
            assert_eq!(distance(b, a), n, "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_word_is_near_or_none() {
        let words = ["lr", "momentum", "epochs", "weight_decay"];
        assert_eq!(nearest("momentun", words), Some("momentum"));
        assert_eq!(nearest("Weight-Decay", words), Some("weight_decay"));
        assert_eq!(nearest("learning_rate", words), Some("lr"));
        assert_eq!(nearest("mom", words), Some("momentum"));
        assert_eq!(nearest("banana", words), None);
    }
}
