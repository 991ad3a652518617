//! What a tensor of a module is for. Weight decay, LARS and the target's moving
//! average go by role and not by shape.

/// What a tensor of a module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A matrix or kernel: decayed and adapted by LARS.
    Weight,
    /// An additive parameter of a layer: neither.
    Bias,
    /// γ or β of a normalisation: neither.
    Norm,
    /// Running statistics: no parameter at all.
    Buffer,
}

/// The role of the tensor called `name` in a container of Burn type
/// `container`, for instance `Struct:BatchNorm` (see
/// [`ModuleVisitor::enter_module`](burn::module::ModuleVisitor::enter_module)).
/// A layer whose type name contains `Norm` is a normalisation.
pub fn role(name: &str, container: &str) -> Role {
    if name.starts_with("running_") {
        Role::Buffer
    } else if container.contains("Norm") {
        Role::Norm
    } else if name == "bias" || name == "beta" {
        Role::Bias
    } else {
        Role::Weight
    }
}
