/// Inverts what is at least `threshold`.
pub(crate) fn solarize(view: &mut [f32], threshold: f32) {
    for x in view {
        *x = if *x >= threshold { 1.0 - *x } else { *x };
    }
}
