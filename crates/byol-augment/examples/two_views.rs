//! Two views of a picture that is made here, and what was drawn for them.

use byol_augment::{AugmentError, Pixels, TwoViewPolicy, ViewKey, Workspace};

fn main() -> Result<(), AugmentError> {
    let photo: Vec<u8> = (0..64 * 48 * 3).map(|i| (i % 251) as u8).collect();
    let pixels = Pixels::new(&photo, 64, 48, 3)?;
    let policy = TwoViewPolicy::preset("byol")?.with_size(32).resolve(3)?;
    let mut workspace = Workspace::default();
    for (view, policy) in [&policy.view, &policy.view_prime].into_iter().enumerate() {
        let key = ViewKey { seed: 0, epoch: 0, sample: 0, view: view as u64 };
        let params = policy.sample(key, pixels.shape())?;
        let mut values = vec![0.0; policy.output_len(3)];
        policy.apply(&params, pixels, &mut workspace, &mut values)?;
        println!("view {view}: {params:?}\n  first values {:?}", &values[..4]);
    }
    Ok(())
}
