//! Rounds of measurements in turns, and their medians.

/// The median of each figure over several rounds.
pub(crate) fn rounds<const N: usize>(
    count: usize,
    mut round: impl FnMut() -> std::io::Result<[std::io::Result<f64>; N]>,
) -> std::io::Result<[f64; N]> {
    let mut all = [const { Vec::new() }; N];
    for _ in 0..count {
        for (figures, figure) in all.iter_mut().zip(round()?) {
            figures.push(figure?);
        }
    }
    Ok(all.map(median))
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
