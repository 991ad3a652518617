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
        burns::what_follows_a_convolution_is_burns();
        burns::normalisations_are_burns();
        burns::gradients_of_shortcuts_are_added();
        burns::poolings_are_burns();
        burns::evaluation_is_differentiable_too();
        burns::weighted_sums_are_burns();
        burns::no_number_is_hidden();
    }
    Path::force(None);
}

#[test]
fn a_path_that_is_not_there_is_not_taken() {
    let missing = Path::ALL.into_iter().filter(|path| !path.is_available());
    for path in missing {
        Path::force(Some(path));
        assert_ne!(Path::current(), path);
    }
}
