//! v comes from T and v′ from T′, each from a draw of its own.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use byol_augment::{Op, Pixels, TwoViewPolicy, ViewKey, ViewPolicy, Workspace};
use byol_data::ingest::smallest_grey_png;
use byol_data::{ImageDataset, NewSample, Shard, ShardWriter};
use byol_train::two_views;

#[test]
fn views_are_drawn_by_themselves_from_two_policies() {
    let pixels: Vec<u8> = (0..400u32).map(|i| (i * 37 % 251) as u8).collect();
    let png = smallest_grey_png(&pixels, 20, 20).unwrap();
    let mut writer = ShardWriter::in_memory(byol_data::Labels::None).unwrap();
    writer.push(NewSample { bytes: &png, path: "", label: None }).unwrap();
    let shard = Shard::in_memory("train", writer.finish().unwrap());
    let set = ImageDataset::from_shards("train", vec![shard]).unwrap();
    let mut policy = TwoViewPolicy::preset("small").unwrap().with_size(8);
    // A difference between T and T′ that always happens.
    policy.prime = vec![Op::Solarize { p: 1.0, threshold: 0.0 }];
    let policy = policy.resolve(1).unwrap();

    let alone = |policy: &ViewPolicy, epoch, view| {
        let pixels = Pixels::new(&pixels, 20, 20, 1).unwrap();
        let params = policy.sample(ViewKey { seed: 3, epoch, sample: 0, view }, pixels.shape()).unwrap();
        let mut out = vec![0.0; 64];
        policy.apply(&params, pixels, &mut Workspace::default(), &mut out).unwrap();
        (params, out)
    };
    for epoch in 0..20 {
        let (mut v, mut v_prime) = (vec![0.0; 64], vec![0.0; 64]);
        two_views(&policy, 3, 1, &set, 0, epoch, [&mut v, &mut v_prime]).unwrap();
        let ((params, expected), (params_prime, expected_prime)) =
            (alone(&policy.view, epoch, 0), alone(&policy.view_prime, epoch, 1));
        assert_eq!((v, v_prime), (expected, expected_prime));
        assert_ne!(params.crop, params_prime.crop, "one draw for both views");
        assert_ne!(params.ops.last(), params_prime.ops.last(), "one policy for both views");
    }
}
