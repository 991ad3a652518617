//! Gradients of f16 convolutions, kept within what f16 can tell apart.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};

/// Where a scale begins, and the largest it becomes: a gradient of 1 is far below f16's end there.
const FIRST: f32 = 65536.0;
const LARGEST: f32 = 16_777_216.0;
/// Steps without an overflow after which it doubles.
const PATIENCE: f32 = 2000.0;

/// What a loss is multiplied by before its gradient is taken, so that small gradients are not lost where values are f16
/// (Micikevicius et al. 2018, section 3.2): halved when a gradient overflows, doubled after 2,000 steps
/// in which none did. It stays on the device; nothing waits for it.
#[derive(Debug, Clone)]
pub(crate) struct LossScale {
    scale: Tensor<1>,
    /// Steps since the last overflow or change.
    calm: Tensor<1>,
}

impl LossScale {
    pub(crate) fn new(device: &Device) -> Self {
        Self::from_values([FIRST, 0.0], device)
    }

    /// As [`values`](Self::values) gave.
    pub(crate) fn from_values([scale, calm]: [f32; 2], device: &Device) -> Self {
        let one = |value: f32| Tensor::from_data([value], device);
        Self { scale: one(scale), calm: one(calm) }
    }

    /// The scale, and the steps since its last change; waits for the device.
    pub(crate) fn values(&self) -> [f32; 2] {
        [&self.scale, &self.calm].map(|tensor| tensor.clone().into_scalar::<f32>())
    }

    /// The loss, scaled, with a graph if it has one.
    pub(crate) fn scaled(&self, loss: Tensor<1>) -> Tensor<1> {
        loss * self.scale.clone().autodiff()
    }

    /// Divides gradients by the scale; if one has overflowed, all are 0, for this step. Then sets the scale
    /// for the next one.
    pub(crate) fn unscale<M: Module>(&mut self, module: &M, gradients: &mut Gradients) {
        let mut sum = Zeros { gradients, sum: None };
        module.visit(&mut sum);
        let Some(zero) = sum.sum else { return };
        // 0 · x is 0 unless x is infinite or no number.
        let overflow = zero.equal_elem(0.0).bool_not();
        let factor = self.scale.clone().recip();
        module.visit(&mut Divide { gradients, factor, overflow: overflow.clone() });
        let calm = (self.calm.clone() + 1.0).mask_fill(overflow.clone(), 0.0);
        let grows = calm.clone().greater_equal_elem(PATIENCE);
        let grown = self.scale.clone().mask_where(grows.clone(), self.scale.clone() * 2.0);
        self.scale = grown.mask_where(overflow, self.scale.clone() * 0.5).clamp(1.0, LARGEST);
        self.calm = calm.mask_fill(grows, 0.0);
    }
}

/// Σ 0 · ∇ over all parameters.
struct Zeros<'a> {
    gradients: &'a mut Gradients,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Zeros<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = param.val().grad(self.gradients) else { return };
        let n = gradient.shape().num_elements();
        let zero = (gradient.reshape([n]) * 0.0).sum_dim(0);
        self.sum = Some(match self.sum.take() {
            None => zero,
            Some(sum) => sum + zero,
        });
    }
}

/// ∇ / scale, or 0.
struct Divide<'a> {
    gradients: &'a mut Gradients,
    factor: Tensor<1>,
    overflow: Tensor<1, burn::tensor::Bool>,
}

impl ModuleVisitor for Divide<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let Some(gradient) = tensor.grad_remove(self.gradients) else { return };
        let dims = gradient.dims();
        let factor = self.factor.clone().reshape([1; D]);
        let overflow = self.overflow.clone().reshape([1; D]).expand(dims);
        tensor.grad_replace(self.gradients, (gradient * factor).mask_fill(overflow, 0.0));
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    fn gradients(linear: &Linear, loss: impl Fn(Tensor<1>) -> Tensor<1>, factor: f32) -> Gradients {
        let x = Tensor::<2>::from_data([[1.0, -2.0, factor]], &Device::flex().autodiff());
        loss(linear.forward(x).square().sum_dim(1).reshape([1])).backward()
    }

    fn of(linear: &Linear, gradients: &Gradients) -> Vec<f32> {
        linear.weight.val().grad(gradients).unwrap().into_data().iter::<f32>().collect()
    }

    #[test]
    fn scaled_and_divided_again_a_gradient_is_the_same() {
        let device = Device::flex();
        let linear = LinearConfig::new(3, 2).init(&device.clone().autodiff());
        let mut scale = LossScale::new(&device);
        let plain = of(&linear, &gradients(&linear, |x| x, 0.5));
        let mut scaled = gradients(&linear, |loss| scale.scaled(loss), 0.5);
        assert!(of(&linear, &scaled).iter().zip(&plain).all(|(a, b)| *a == *b * FIRST));
        scale.unscale(&linear, &mut scaled);
        assert_eq!(of(&linear, &scaled), plain);
        assert_eq!(scale.values(), [FIRST, 1.0]);
    }

    #[test]
    fn an_overflow_is_no_step_and_halves_the_scale() {
        let device = Device::flex();
        let linear = LinearConfig::new(3, 2).init(&device.clone().autodiff());
        let mut scale = LossScale::from_values([1024.0, 1500.0], &device);
        for (k, factor) in [(1, 1e30), (2, f32::NAN)] {
            let mut overflown = gradients(&linear, |loss| scale.scaled(loss), factor);
            assert!(of(&linear, &overflown).iter().any(|x| !x.is_finite()));
            scale.unscale(&linear, &mut overflown);
            assert!(of(&linear, &overflown).iter().all(|x| *x == 0.0));
            assert_eq!(scale.values(), [1024.0 / f32::powi(2.0, k), 0.0]);
        }
    }

    #[test]
    fn it_doubles_after_a_while_and_stays_within_bounds() {
        let device = Device::flex();
        let linear = LinearConfig::new(3, 2).init(&device.clone().autodiff());
        let after = |values: [f32; 2]| {
            let mut scale = LossScale::from_values(values, &device);
            scale.unscale(&linear, &mut gradients(&linear, |x| x, 0.5));
            scale.values()
        };
        assert_eq!(after([4.0, PATIENCE - 2.0]), [4.0, PATIENCE - 1.0]);
        assert_eq!(after([4.0, PATIENCE - 1.0]), [8.0, 0.0]);
        assert_eq!(after([LARGEST, PATIENCE - 1.0]), [LARGEST, 0.0]);
        assert_eq!(linear.num_params(), 8);
    }
}
