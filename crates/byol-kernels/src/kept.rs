//! Weights that several convolutions read are made ready once.

use std::cell::RefCell;

#[cfg(feature = "flex")]
use {
    crate::conv::{Prepared, Shape},
    crate::flex::{Tensor, values},
    crate::isa::Way,
    std::collections::HashMap,
    std::rc::Rc,
};

/// Calls `f`, in which convolutions by this crate that this thread calls keep their weights as the
/// kernels read them, for `uses` convolutions with the same weights together: for instance the two
/// views of a step, or many batches of an evaluation. Results are the same bits. What is kept
/// needs up to four times the memory of the weights, until its last use or the end of `f`.
///
/// The weights themselves are held as long: a change of theirs within `f` finds them in use and
/// makes a copy.
///
/// ```
/// use byol_kernels::{conv2d, weights_kept};
/// # use burn::tensor::{Device, Tensor};
/// # let device = Device::default();
/// # let (v, weight) = (Tensor::<4>::ones([1, 3, 8, 8], &device), Tensor::<4>::ones([4, 3, 3, 3], &device));
/// # let v_prime = v.clone();
/// let both = weights_kept(2, || [conv2d(v, weight.clone(), 1, 1), conv2d(v_prime, weight, 1, 1)]);
/// ```
pub fn weights_kept<R>(uses: usize, f: impl FnOnce() -> R) -> R {
    let _restore = Restore(KEPT.replace(Some(Kept::new(uses))));
    f()
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Gives back what was kept before, whatever happens.
struct Restore(Option<Kept>);

impl Drop for Restore {
    fn drop(&mut self) {
        KEPT.replace(self.0.take());
    }
}

/// What a scope keeps.
struct Kept {
    #[cfg(feature = "flex")]
    uses: usize,
    #[cfg(feature = "flex")]
    weights: HashMap<(usize, Way, Shape), Entry>,
}

#[cfg(feature = "flex")]
struct Entry {
    /// Held, so that what is at its place stays what was prepared.
    _weight: Tensor,
    prepared: Rc<Prepared>,
    /// Uses to come.
    left: usize,
}

impl Kept {
    #[cfg_attr(not(feature = "flex"), expect(unused_variables, reason = "nothing is kept there"))]
    fn new(uses: usize) -> Self {
        Self {
            #[cfg(feature = "flex")]
            uses,
            #[cfg(feature = "flex")]
            weights: HashMap::new(),
        }
    }
}

/// Calls `f` with weights `[out_c, in_c, kernel]`, prepared for images of this shape: those that are
/// kept, where there are some.
#[cfg(feature = "flex")]
pub(crate) fn with<R>(way: Way, shape: &Shape, weight: &Tensor, f: impl FnOnce(&Prepared) -> R) -> R {
    let key = (values(weight).as_ptr() as usize, way, Shape { n: 0, ..*shape });
    let of_a_scope = KEPT.with_borrow(|kept| kept.as_ref().is_some_and(|kept| kept.uses > 1));
    if !of_a_scope || !weight.is_contiguous() {
        let weight = weight.to_contiguous();
        return f(&Prepared::new(way, shape, values(&weight)));
    }
    let found = KEPT.with_borrow_mut(|kept| {
        let weights = &mut kept.as_mut()?.weights;
        let entry = weights.get_mut(&key)?;
        entry.left -= 1;
        let prepared = entry.prepared.clone();
        if entry.left == 0 {
            weights.remove(&key);
        }
        Some(prepared)
    });
    let prepared = found.unwrap_or_else(|| {
        let prepared = Rc::new(Prepared::new(way, shape, values(weight)));
        KEPT.with_borrow_mut(|kept| {
            if let Some(kept) = kept {
                let entry =
                    Entry { _weight: weight.clone(), prepared: prepared.clone(), left: kept.uses - 1 };
                kept.weights.insert(key, entry);
            }
        });
        prepared
    });
    f(&prepared)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::Path;

    const SHAPE: Shape = Shape { n: 1, h: 4, w: 4, in_c: 2, out_c: 3, kernel: [3, 3], stride: 1, padding: 1 };

    fn weight() -> Tensor {
        let values: Vec<f32> = (0..54).map(|i| i as f32).collect();
        Tensor::from_data(TensorData::new(values, [3, 2, 3, 3]))
    }

    /// Where its prepared weights lie; held, so that no two lie at one place.
    fn place(weight: &Tensor, shape: &Shape, held: &mut Vec<Rc<Prepared>>) -> Option<usize> {
        with(Way::from(Path::current()), shape, weight, |prepared| {
            let at = std::ptr::from_ref(prepared) as usize;
            let found = KEPT.with_borrow(|kept| {
                let entries = kept.as_ref().into_iter().flat_map(|kept| kept.weights.values());
                entries.map(|entry| entry.prepared.clone()).find(|kept| Rc::as_ptr(kept) as usize == at)
            });
            held.extend(found);
            kept_now().then_some(at)
        })
    }

    fn kept_now() -> bool {
        KEPT.with_borrow(Option::is_some)
    }

    #[test]
    fn weights_are_prepared_once_for_so_many_uses() {
        let (weight, other, mut held) = (weight(), weight(), Vec::new());
        weights_kept(3, || {
            let mut at = |w: &Tensor| place(w, &SHAPE, &mut held);
            let first = at(&weight);
            assert!(first.is_some() && at(&weight) == first);
            assert_ne!(at(&other), first, "of other weights");
            assert_eq!(at(&weight.clone()), first);
            assert_ne!(at(&weight), first, "a fourth use");
            assert_eq!(
                place(&weight, &Shape { n: 7, ..SHAPE }, &mut held),
                place(&weight, &SHAPE, &mut held)
            );
        });
        assert!(!kept_now(), "after the scope");
    }

    #[test]
    fn other_shapes_and_layouts_are_prepared_for_themselves() {
        let (weight, mut held) = (weight(), Vec::new());
        weights_kept(9, || {
            let first = place(&weight, &SHAPE, &mut held);
            assert_ne!(place(&weight, &Shape { stride: 2, ..SHAPE }, &mut held), first);
            assert_eq!(place(&weight, &SHAPE, &mut held), first);
            let turned = weight.permute(&[0, 1, 3, 2]);
            with(Way::from(Path::current()), &SHAPE, &turned, |turned| {
                let (Prepared::Packed(turned), straight) =
                    (turned, Prepared::new(Way::from(Path::current()), &SHAPE, values(&weight)))
                else {
                    panic!("few channels are packed");
                };
                let Prepared::Packed(straight) = straight else { panic!("few channels are packed") };
                assert_ne!(turned.values, straight.values);
            });
        });
    }

    #[test]
    fn a_scope_within_a_scope_is_its_own() {
        let (weight, mut held) = (weight(), Vec::new());
        weights_kept(9, || {
            let first = place(&weight, &SHAPE, &mut held);
            weights_kept(2, || assert_ne!(place(&weight, &SHAPE, &mut held), first));
            let panics = std::panic::catch_unwind(|| weights_kept(2, || panic!("on purpose")));
            assert!(panics.is_err());
            assert_eq!(place(&weight, &SHAPE, &mut held), first);
        });
    }
}
