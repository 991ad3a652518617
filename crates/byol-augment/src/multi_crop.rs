//! More than two views: groups of crops of their own size (SwAV's multi-crop).

use serde::{Deserialize, Serialize};

use crate::policy::check_size;
use crate::{AugmentError, ResolvedPolicy, ViewPolicy};

/// Some views of one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropGroup {
    /// How many.
    pub views: usize,
    /// Side in pixels.
    pub size: usize,
    /// Share of the picture's area, uniform, within (0, 1].
    pub area: [f64; 2],
}

impl ResolvedPolicy {
    /// The policies of all views of the groups, in order: T and T′ in turn, with
    /// the group's size and area. Sample view `i` with the key whose `view` is `i`.
    ///
    /// # Errors
    ///
    /// If a group's size or area is out of range, or there are no views.
    pub fn multi_crop(&self, groups: &[CropGroup]) -> Result<Vec<ViewPolicy>, AugmentError> {
        let bad = |key: &str, value: String, expected| {
            Err(AugmentError::Policy { key: format!("multi_crop.{key}"), value, expected })
        };
        let mut policies = Vec::new();
        for group in groups {
            let [low, high] = group.area;
            check_size(group.size)?;
            if !(low > 0.0 && low <= high && high <= 1.0) {
                return bad("area", format!("{:?}", group.area), "0 < low <= high <= 1");
            }
            for _ in 0..group.views {
                let policy = if policies.len() % 2 == 0 { &self.view } else { &self.view_prime };
                let mut policy = policy.clone();
                policy.size = group.size;
                policy.crop.area = group.area;
                policies.push(policy);
            }
        }
        if policies.is_empty() {
            return bad("views", "0".into(), "at least one view");
        }
        Ok(policies)
    }
}

#[cfg(test)]
#[cfg(feature = "presets")]
mod tests {
    use super::*;
    use crate::{Pixels, TwoViewPolicy, ViewKey, Workspace};

    #[test]
    fn two_large_and_six_small_views() {
        let groups = [
            CropGroup { views: 2, size: 48, area: [0.25, 1.0] },
            CropGroup { views: 6, size: 20, area: [0.05, 0.25] },
        ];
        let resolved = TwoViewPolicy::preset("byol").unwrap().resolve(3).unwrap();
        let policies = resolved.multi_crop(&groups).unwrap();
        assert_eq!(policies.iter().map(|p| p.size).collect::<Vec<_>>(), [48, 48, 20, 20, 20, 20, 20, 20]);
        let data: Vec<u8> = (0..60 * 50 * 3).map(|i| (i * 7 % 256) as u8).collect();
        let pixels = Pixels::new(&data, 60, 50, 3).unwrap();
        let mut workspace = Workspace::default();
        let mut crops = Vec::new();
        for (i, policy) in policies.iter().enumerate() {
            let key = ViewKey { seed: 0, epoch: 0, sample: 0, view: i as u64 };
            let params = policy.sample(key, pixels.shape()).unwrap();
            let mut out = vec![0.0; policy.output_len(3)];
            policy.apply(&params, pixels, &mut workspace, &mut out).unwrap();
            crops.push(params.crop);
        }
        crops.dedup();
        assert_eq!(crops.len(), 8, "each view has draws of its own");
        assert!(resolved.multi_crop(&[]).is_err());
    }
}
