//! The method, on one screen, in the paper's letters (section 3.1, Appendix J).

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use byol_model::{Collective, Encoder, OnlineNetwork, TargetNetwork, embedding_std, regression_loss};

use crate::{Optimizer, TrainError};

/// θ, ξ and the optimiser's state.
#[derive(Debug)]
pub struct Byol<E: Encoder> {
    /// f_θ, g_θ, q_θ.
    pub online: OnlineNetwork<E>,
    /// f_ξ, g_ξ.
    pub target: TargetNetwork<E>,
    /// Knows nothing of the target.
    pub optimizer: Optimizer,
}

/// What a step saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepValues {
    /// L_θ,ξ + L̃_θ,ξ, 0 to 8.
    pub loss: f64,
    /// See [`embedding_std`].
    pub z_std: f64,
}

impl<E: Encoder> Byol<E> {
    /// One optimiser step on views v ~ T and v′ ~ T′ of the same pictures,
    /// `[N, C, H, W]` each, on the autodiff device of the online network.
    ///
    /// # Errors
    ///
    /// If replicas lose each other.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "tensors are handles, and whoever calls is done with them"
    )]
    pub fn step(
        self,
        v: Tensor<4>,
        v_prime: Tensor<4>,
        lr: f64,
        tau: f64,
        collective: &dyn Collective,
    ) -> Result<(Self, StepValues), TrainError> {
        self.step_over(1, |_| Ok([v.clone(), v_prime.clone()]), lr, tau, collective)
    }

    /// The same over `n` micro-batches of one size that `views` gives one by one: gradients
    /// are averaged, and there is one step of the optimiser and of ξ. Batch statistics are
    /// those of each micro-batch, so that with batch normalisation it is not the step of
    /// one large batch.
    ///
    /// # Errors
    ///
    /// As `views`, or if replicas lose each other.
    pub fn step_over(
        self,
        n: usize,
        mut views: impl FnMut(usize) -> Result<[Tensor<4>; 2], TrainError>,
        lr: f64,
        tau: f64,
        collective: &dyn Collective,
    ) -> Result<(Self, StepValues), TrainError> {
        let Self { online, target, mut optimizer } = self;
        let mut values = StepValues { loss: 0.0, z_std: 0.0 };
        let mut gradients: Option<Gradients> = None;
        for i in 0..n {
            let [v, v_prime] = views(i)?;
            // Each view through its own forward pass: batch statistics never mix T and T′.
            let theta = online.forward(v.clone());
            let theta_prime = online.forward(v_prime.clone());
            // z′ = g_ξ(f_ξ(v′)), and the reverse: batch statistics, no gradient.
            let xi = target.forward(v);
            let xi_prime = target.forward(v_prime);
            // Equation 2, both directions: ‖q̄(z) − z̄′‖² + the same with v and v′ swapped.
            let loss =
                regression_loss(theta.prediction, xi_prime) + regression_loss(theta_prime.prediction, xi);
            values.loss += scalar(loss.clone()) / n as f64;
            values.z_std += scalar(embedding_std(theta.projection.detach())) / n as f64;
            let loss = if n == 1 { loss } else { loss.div_scalar(n as f64) };
            gradients = Some(match gradients {
                None => loss.backward(),
                Some(sum) => added(&online, sum, &loss.backward()),
            });
        }
        // θ ← optimizer(θ, ∇_θ L, η)   (Equation 3)
        let online = match gradients {
            Some(mut gradients) => {
                average_over_replicas(&online, &mut gradients, collective)?;
                optimizer.step(online, &mut gradients, lr)
            }
            None => online,
        };
        // ξ ← τ ξ + (1 − τ) θ           (Equation 4), once a step, after it.
        let target = target.update(&online, tau);
        Ok((Self { online, target, optimizer }, values))
    }
}

fn scalar(x: Tensor<1>) -> f64 {
    f64::from(x.into_scalar::<f32>())
}

/// Σ + ∇, for every parameter.
fn added<M: Module>(module: &M, sum: Gradients, gradients: &Gradients) -> Gradients {
    struct Add<'a> {
        sum: Gradients,
        gradients: &'a Gradients,
    }
    impl ModuleVisitor for Add<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            if let (Some(sum), Some(gradient)) = (tensor.grad(&self.sum), tensor.grad(self.gradients)) {
                tensor.grad_replace(&mut self.sum, sum + gradient);
            }
        }
    }
    let mut add = Add { sum, gradients };
    module.visit(&mut add);
    add.sum
}

/// ∇ ← (1/world) Σ ∇. Nothing to do in a run of one process.
fn average_over_replicas<M: Module>(
    module: &M,
    gradients: &mut Gradients,
    collective: &dyn Collective,
) -> Result<(), TrainError> {
    struct Average<'a> {
        gradients: &'a mut Gradients,
        collective: &'a dyn Collective,
        result: Result<(), TrainError>,
    }
    impl ModuleVisitor for Average<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            let (Ok(()), Some(gradient)) = (&self.result, tensor.grad(self.gradients)) else { return };
            let (shape, device) = (gradient.shape(), gradient.device());
            // Cannot fail: gradients of f32 parameters are f32.
            let mut values: Vec<f32> = gradient.into_data().try_into_vec().unwrap_or_default();
            self.result = self.collective.sum(&mut values).map_err(TrainError::Collective);
            let mean = Tensor::from_data(TensorData::new(values, shape), &device)
                .div_scalar(self.collective.world() as f64);
            tensor.grad_replace(self.gradients, mean);
        }
    }
    if collective.world() == 1 {
        return Ok(());
    }
    let mut average = Average { gradients, collective, result: Ok(()) };
    module.visit(&mut average);
    average.result
}
