/// Mirrors every row of every plane.
pub(crate) fn horizontal(view: &mut [f32], size: usize) {
    for row in view.chunks_exact_mut(size) {
        row.reverse();
    }
}
