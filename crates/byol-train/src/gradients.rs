//! Gradients of whole networks: apart, added, averaged.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::container::TensorContainer;
use burn::tensor::{Gradients, Tensor, TensorData};
use byol_model::{Collective, weighted_sum};

use crate::TrainError;

/// The same values as parameters of their own.
pub(crate) fn with_own_gradients<M: Module>(module: M) -> M {
    struct Own;
    impl ModuleMapper for Own {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper) = param.consume();
            let tracked = value.is_require_grad();
            let value = Tensor::from_inner(value.inner()).set_require_grad(tracked);
            Param::from_mapped_value(id, value, mapper)
        }
    }
    module.map(&mut Own)
}

/// Σ of `module` + ∇ of `other`, parameter by parameter, as gradients of `module`.
pub(crate) fn added<M: Module>(
    module: &M,
    mut sum: Gradients,
    other: &M,
    mut gradients: Gradients,
) -> Gradients {
    struct Take<'a> {
        place: usize,
        gradients: &'a mut Gradients,
        found: TensorContainer<usize>,
    }
    struct Add<'a> {
        place: usize,
        sum: &'a mut Gradients,
        found: TensorContainer<usize>,
    }
    impl ModuleVisitor for Take<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad_remove(self.gradients) {
                self.found.register(self.place, gradient);
            }
            self.place += 1;
        }
    }
    impl ModuleVisitor for Add<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            let so_far = tensor.grad_remove(self.sum);
            let more = self.found.remove::<Tensor<D>>(&self.place);
            let both = match (so_far, more) {
                (Some(sum), Some(more)) => Some(weighted_sum(sum, 1.0, more, 1.0)),
                (one, other) => one.or(other),
            };
            if let Some(both) = both {
                tensor.grad_replace(self.sum, both);
            }
            self.place += 1;
        }
    }
    let mut take = Take { place: 0, gradients: &mut gradients, found: TensorContainer::new() };
    other.visit(&mut take);
    let found = take.found;
    module.visit(&mut Add { place: 0, sum: &mut sum, found });
    sum
}

/// Values that are summed at a time: 16 MiB, so that the copies stay small.
const BUCKET: usize = 1 << 22;

/// ∇ ← (1/world) Σ ∇, many parameters at a time. Nothing to do in a run of one process.
pub(crate) fn average_over_replicas<M: Module>(
    module: &M,
    gradients: &mut Gradients,
    collective: &dyn Collective,
) -> Result<(), TrainError> {
    if collective.world() == 1 {
        return Ok(());
    }
    let mut flat = Flat { gradients, values: Vec::new(), at: 0, writing: false };
    module.visit(&mut flat);
    for bucket in flat.values.chunks_mut(BUCKET) {
        collective.sum(bucket).map_err(TrainError::Collective)?;
    }
    let share = 1.0 / collective.world() as f32;
    flat.values.iter_mut().for_each(|x| *x *= share);
    flat.writing = true;
    module.visit(&mut flat);
    Ok(())
}

/// The gradients of a module in one row, in its order: first taken down, then written back.
struct Flat<'a> {
    gradients: &'a mut Gradients,
    values: Vec<f32>,
    at: usize,
    writing: bool,
}

impl ModuleVisitor for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let Some(gradient) = tensor.grad(self.gradients) else { return };
        let (shape, device) = (gradient.shape(), gradient.device());
        if self.writing {
            let end = self.at + shape.num_elements();
            let values = self.values[self.at..end].to_vec();
            self.at = end;
            tensor.grad_replace(self.gradients, Tensor::from_data(TensorData::new(values, shape), &device));
        } else {
            // Cannot fail: gradients of f32 parameters are f32.
            self.values.extend(gradient.into_data().try_into_vec::<f32>().unwrap_or_default());
        }
    }
}
