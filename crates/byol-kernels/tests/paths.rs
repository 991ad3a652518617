//! The comparisons with Burn's operations, with each path of this machine forced in turn.

#![cfg(feature = "flex")]

use byol_kernels::Path;

#[path = "burn.rs"]
mod burns;

#[test]
fn every_path_is_burns() {
    for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
        Path::force(Some(path));
        assert_eq!(Path::current(), path);
        burns::convolutions_are_burns();
        burns::a_convolution_in_bf16_is_burns_of_rounded_factors();
        burns::a_filtered_convolution_in_bf16_is_near_burns();
        burns::what_follows_a_convolution_is_burns();
        burns::normalisations_are_burns();
        burns::gradients_of_shortcuts_are_added();
        burns::poolings_are_burns();
        burns::evaluation_is_differentiable_too();
        burns::weighted_sums_are_burns();
        burns::steps_with_momentum_are_burns();
        burns::no_number_is_hidden();
    }
    // In the same test, for what is forced is the whole process's.
    for missing in Path::ALL.into_iter().filter(|path| !path.is_available()) {
        Path::force(Some(missing));
        assert_ne!(Path::current(), missing);
    }
    Path::force(None);
}
