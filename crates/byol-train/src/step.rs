//! The method, on one screen, in the paper's letters (section 3.1, Appendix J).

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use byol_model::{
    Collective, Encoder, NamedTensor, OnlineNetwork, Precision, Role, SharedStatistics, TargetNetwork,
    constant_cosine, embedding_std, named_tensors, passes, regression_loss,
};

use crate::gradients::{added, average_over_replicas, with_own_gradients};
use crate::optim::LossScale;
use crate::replicas::spread;
use crate::{Lanes, Optimizer, RunSpec, TrainError};

/// θ, ξ and the optimiser's state.
#[derive(Debug)]
pub struct Byol<E: Encoder> {
    /// f_θ, g_θ, q_θ.
    pub online: OnlineNetwork<E>,
    /// f_ξ, g_ξ.
    pub target: TargetNetwork<E>,
    /// Knows nothing of the target.
    pub optimizer: Optimizer,
    /// Where a step is computed: changes its speed and never its result.
    pub lanes: Lanes,
    /// What convolutions multiply.
    pub precision: Precision,
    /// Has batch normalisation see the pictures of all replicas; there is one lane then, for all of them
    /// must exchange in the same order.
    pub shared: Option<Arc<SharedStatistics>>,
}

/// What a step saw.
#[derive(Debug, Clone)]
pub struct StepValues {
    /// L_θ,ξ + L̃_θ,ξ, 0 to 8; of all replicas, as are the other numbers.
    pub loss: f64,
    /// L_θ,ξ, of v predicting v′.
    pub loss_v: f64,
    /// L̃_θ,ξ, of v′ predicting v.
    pub loss_v_prime: f64,
    /// See [`embedding_std`].
    pub z_std: f64,
    /// See [`constant_cosine`], of the target's projections.
    pub constant_cosine: f64,
    /// y of v, on the device without autodiff, `[N, D]`, of the last micro-batch.
    pub representation: Tensor<2>,
    /// z of v, on the device without autodiff, `[N, d]`, of the last micro-batch.
    pub projection: Tensor<2>,
}

impl<E: Encoder> Byol<E> {
    /// The networks of a recipe around an encoder of yours, on its device: heads and optimiser
    /// are the recipe's, the target starts as a copy, and there is one lane.
    pub fn new(encoder: E, spec: &RunSpec, device: &Device) -> Self {
        let projector = spec.projector.init(encoder.dim(), device);
        let predictor = spec.predictor.init(spec.projector.output, device);
        let online = OnlineNetwork { encoder, projector, predictor };
        let target = TargetNetwork::copy_of(&online);
        let optimizer = Optimizer::new(spec.optimizer).with_multipliers(spec.lr_multipliers);
        Self { online, target, optimizer, lanes: Lanes::one(), precision: spec.precision, shared: None }
    }

    /// One optimiser step on views v ~ T and v′ ~ T′ of the same pictures,
    /// `[N, C, H, W]` each, on the autodiff device of the online network.
    ///
    /// # Errors
    ///
    /// A loss that is no number, or if replicas lose each other.
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
    /// As `views`, `n` = 0, a loss that is no number, or if replicas lose each other.
    pub fn step_over(
        self,
        n: usize,
        views: impl FnMut(usize) -> Result<[Tensor<4>; 2], TrainError>,
        lr: f64,
        tau: f64,
        collective: &dyn Collective,
    ) -> Result<(Self, StepValues), TrainError> {
        let (byol, seen) = self.step_reading(true, n, views, lr, tau, collective)?;
        let Seen { numbers, representation, projection } = seen;
        // They were asked for.
        let Numbers { loss, loss_v, loss_v_prime, z_std, constant_cosine } = numbers.unwrap_or_default();
        let values =
            StepValues { loss, loss_v, loss_v_prime, z_std, constant_cosine, representation, projection };
        Ok((byol, values))
    }

    /// The same, which reads numbers back if `read`: nothing else of a step has to wait for the device.
    /// A loss that is no number is seen when one is read.
    pub(crate) fn step_reading(
        self,
        read: bool,
        n: usize,
        mut views: impl FnMut(usize) -> Result<[Tensor<4>; 2], TrainError>,
        lr: f64,
        tau: f64,
        collective: &dyn Collective,
    ) -> Result<(Self, Seen), TrainError> {
        let Self { mut online, mut target, mut optimizer, mut lanes, precision, shared } = self;
        let mut one = Lanes::one();
        let in_order = if shared.is_some() { &mut one } else { &mut lanes };
        let exchanged = || match &shared {
            Some(shared) => shared.check().map_err(TrainError::Collective),
            None => Ok(()),
        };
        // θ once more, for v′: nothing that is derived is shared by the two directions, so that
        // each has its own gradient, beside the other's.
        let mut twin = with_own_gradients(online.clone());
        let mut scale = (precision == Precision::F16).then(|| {
            let device = online.devices().into_iter().next().unwrap_or_default().without_autodiff();
            optimizer.loss_scale.take().unwrap_or_else(|| LossScale::new(&device))
        });
        let (mut seen, mut spoiled): (Option<Seen>, Option<String>) = (None, None);
        let mut gradients: Option<Gradients> = None;
        for i in 0..n {
            let [v, v_prime] = views(i)?;
            // Each view through its own forward pass: batch statistics never mix T and T′.
            // z′ = g_ξ(f_ξ(v′)), and the reverse: batch statistics, no gradient.
            let (seen_v, seen_v_prime) = (v.clone(), v_prime.clone());
            let (of_theta, of_xi) = in_order.both(
                || {
                    let both = || [online.forward(seen_v), twin.forward(seen_v_prime)];
                    (scoped(precision, shared.as_ref(), || passes(2, both)), online, twin)
                },
                || {
                    let both = || [target.forward(v), target.forward(v_prime)];
                    (scoped(precision, shared.as_ref(), || passes(2, both)), target)
                },
            );
            let ([theta, theta_prime], [xi, xi_prime]);
            ([theta, theta_prime], online, twin) = of_theta;
            ([xi, xi_prime], target) = of_xi;
            exchanged()?;
            // Equation 2, both directions: ‖q̄(z) − z̄′‖² + the same with v and v′ swapped.
            let loss_v = regression_loss(theta.prediction, xi_prime.clone());
            let loss_v_prime = regression_loss(theta_prime.prediction, xi.clone());
            let projection = theta.projection.inner();
            let mut numbers = None;
            if read {
                let targets = [xi.clone(), xi_prime.clone()];
                let part = |x: Tensor<1>| scalar(x) / n as f64;
                let of = Numbers {
                    loss: part(loss_v.clone().inner() + loss_v_prime.clone().inner()),
                    loss_v: part(loss_v.clone().inner()),
                    loss_v_prime: part(loss_v_prime.clone().inner()),
                    z_std: part(embedding_std(projection.clone())),
                    constant_cosine: part((constant_cosine(xi) + constant_cosine(xi_prime)).div_scalar(2.0)),
                };
                if !of.loss.is_finite() {
                    spoiled = spoiled.or_else(|| not_finite(&online));
                    // Of several processes all end, when they have told each other.
                    if collective.world() == 1 {
                        return Err(TrainError::LossNotFinite { loss: of.loss * n as f64, spoiled });
                    }
                }
                let mut of = of;
                if collective.world() > 1 {
                    let (std, constant) = spread(collective, projection.clone(), targets)?;
                    (of.z_std, of.constant_cosine) = (std / n as f64, constant / n as f64);
                }
                numbers = Some(of.with(seen.and_then(|seen| seen.numbers)));
            }
            seen = Some(Seen { numbers, representation: theta.representation.inner(), projection });
            let mean = |loss: Tensor<1>| if n == 1 { loss } else { loss.div_scalar(n as f64) };
            let mean = |loss: Tensor<1>| match &scale {
                Some(scale) => scale.scaled(mean(loss)),
                None => mean(loss),
            };
            let (of_v, of_v_prime) =
                in_order.both(|| mean(loss_v).backward(), || mean(loss_v_prime).backward());
            exchanged()?;
            let both = added(&online, of_v, &twin, of_v_prime);
            gradients = Some(match gradients {
                None => both,
                Some(sum) => added(&online, sum, &online, both),
            });
        }
        drop(twin); // θ is changed where it lies
        // θ ← optimizer(θ, ∇_θ L, η)   (Equation 3)
        let online = match gradients {
            Some(mut gradients) => {
                average_over_replicas(&online, &mut gradients, collective)?;
                if let Some(scale) = &mut scale {
                    scale.unscale(&online, &mut gradients);
                }
                optimizer.step(online, &mut gradients, lr)
            }
            None => online,
        };
        optimizer.loss_scale = scale;
        // ξ ← τ ξ + (1 − τ) θ           (Equation 4), once a step, after it.
        let target = target.update(&online, tau);
        let mut seen = seen.ok_or(TrainError::Spec {
            key: "accumulation",
            value: "0".into(),
            expected: "at least 1".into(),
        })?;
        if let Some(numbers) = &mut seen.numbers {
            numbers.over_replicas(collective)?;
            if !numbers.loss.is_finite() {
                return Err(TrainError::LossNotFinite { loss: numbers.loss, spoiled });
            }
        }
        Ok((Self { online, target, optimizer, lanes, precision, shared }, seen))
    }
}

/// Passes of a step: what convolutions multiply, and whose pictures normalisations see.
fn scoped<R>(precision: Precision, shared: Option<&Arc<SharedStatistics>>, f: impl FnOnce() -> R) -> R {
    match shared {
        Some(shared) => precision.scope(|| shared.scope(f)),
        None => precision.scope(f),
    }
}

/// What the trainer sees of a step.
pub(crate) struct Seen {
    /// None where they were not read.
    pub numbers: Option<Numbers>,
    pub representation: Tensor<2>,
    pub projection: Tensor<2>,
}

/// The numbers of [`StepValues`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Numbers {
    pub loss: f64,
    pub loss_v: f64,
    pub loss_v_prime: f64,
    pub z_std: f64,
    pub constant_cosine: f64,
}

impl Numbers {
    /// Added to those of the micro-batches before.
    fn with(mut self, before: Option<Self>) -> Self {
        if let Some(before) = before {
            self.loss += before.loss;
            self.loss_v += before.loss_v;
            self.loss_v_prime += before.loss_v_prime;
            self.z_std += before.z_std;
            self.constant_cosine += before.constant_cosine;
        }
        self
    }

    /// Means over all replicas; of what they share already, the same. Nothing to do in a run of one process.
    fn over_replicas(&mut self, collective: &dyn Collective) -> Result<(), TrainError> {
        if collective.world() == 1 {
            return Ok(());
        }
        let Self { loss, loss_v, loss_v_prime, z_std, constant_cosine } = self;
        let numbers = [loss, loss_v, loss_v_prime, z_std, constant_cosine];
        let mut sums = numbers.each_ref().map(|x| **x);
        collective.sum_f64(&mut sums).map_err(TrainError::Collective)?;
        for (number, sum) in numbers.into_iter().zip(sums) {
            *number = sum / collective.world() as f64;
        }
        Ok(())
    }
}

/// The first parameter of `module` with a value that is no number.
fn not_finite<M: Module>(module: &M) -> Option<String> {
    let spoiled = |tensor: &NamedTensor| tensor.values.iter().any(|x| !x.is_finite());
    named_tensors(module).into_iter().find(|t| t.role != Role::Buffer && spoiled(t)).map(|t| t.name)
}

fn scalar(x: Tensor<1>) -> f64 {
    f64::from(x.into_scalar::<f32>())
}
