//! Weights and inputs by a hash of their names, and comparison with the golden files of
//! tests/golden/networks, whose make.py does the same.

#![allow(
    dead_code,
    clippy::unwrap_used,
    missing_docs,
    reason = "shared by several tests, none of which uses all"
)]

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use byol_model::{Role, TensorValues, load_named, named_tensors};
use safetensors::SafeTensors;

/// As `numbers` of make.py.
pub fn numbers(name: &str, n: usize) -> Vec<f32> {
    let seed = name.bytes().fold(2_166_136_261u32, |h, byte| (h ^ u32::from(byte)).wrapping_mul(16_777_619));
    let hash = |i: u32| {
        let mut h = i.wrapping_mul(2_654_435_769) ^ seed;
        h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
        h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
        ((h ^ (h >> 16)) >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..n as u32).map(hash).collect()
}

pub fn tensor<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values = numbers(name, shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// As `fill` of make.py, where linear weights are the other way round.
pub fn fill<M: Module>(module: M, linear: bool) -> M {
    let mut tensors = BTreeMap::new();
    for t in named_tensors(&module) {
        let u = numbers(&t.name, t.values.len());
        let values: Vec<f32> = if t.shape.len() > 1 {
            let fan_in: usize = if linear { t.shape[0] } else { t.shape[1..].iter().product() };
            let scale = (6.0 / fan_in as f64).sqrt() as f32;
            let scaled: Vec<f32> = u.iter().map(|u| u * scale).collect();
            if linear { transposed(&scaled, t.shape[1], t.shape[0]) } else { scaled }
        } else if t.name.ends_with("running_var") {
            u.iter().map(|u| 1.0 + 0.5 * u).collect()
        } else if t.name.ends_with("running_mean") || t.name.ends_with("bias") {
            u.iter().map(|u| 0.125 * u).collect()
        } else {
            u.iter().map(|u| 1.0 + 0.25 * u).collect()
        };
        tensors.insert(t.name, (t.shape, values));
    }
    load_named(module, tensors).unwrap()
}

/// `[rows, columns]` to `[columns, rows]`.
pub fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| values[i % rows * columns + i / rows]).collect()
}

pub fn golden(bytes: &[u8]) -> BTreeMap<String, TensorValues> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let values =
        |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.tensors().into_iter().map(|(name, v)| (name, (v.shape().to_vec(), values(v.data())))).collect()
}

pub fn layers() -> BTreeMap<String, TensorValues> {
    golden(include_bytes!("../../../../tests/golden/networks/layers.safetensors"))
}

/// Within 1e-4 of the largest value.
pub fn assert_close(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-6f32, |most, x| most.max(x.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-4 * largest, "{what}: {got} against {expected} of {largest}");
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Every gradient of a module, under its name.
pub fn gradients<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, TensorValues> {
    struct Collect<'a>(&'a Gradients, Vec<String>, BTreeMap<String, TensorValues>);
    impl burn::module::ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.1.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.0) {
                let name = self.1.join(".").replace("downsample.conv", "downsample.0");
                let name = name.replace("downsample.bn", "downsample.1");
                self.2.insert(name, (gradient.dims().to_vec(), values(gradient)));
            }
        }
    }
    let mut collect = Collect(gradients, Vec::new(), BTreeMap::new());
    module.visit(&mut collect);
    collect.2
}

/// Compares what a module did in one pass with a case of the golden file.
pub fn compare<M: Module, const I: usize>(
    case: &str,
    module: &M,
    input: &Tensor<I>,
    output: Tensor<2>,
    linear: bool,
    golden: &BTreeMap<String, TensorValues>,
) {
    let expected = |name: &str| &golden[&format!("{case}.{name}")];
    assert_close(&format!("{case} output"), &values(output.clone()), &expected("output").1);
    let upstream = tensor(&format!("{case}.upstream"), output.dims(), &output.device());
    let backward = (output * upstream).sum_dim(1).sum_dim(0).backward();
    assert_close(
        &format!("{case} input's gradient"),
        &values(input.grad(&backward).unwrap()),
        &expected("grad.input").1,
    );
    let gradients = gradients(module, &backward);
    let tensors = named_tensors(module);
    assert!(!tensors.is_empty());
    for t in tensors {
        if t.role == Role::Buffer {
            assert_close(&format!("{case} {}", t.name), &t.values, &expected(&t.name).1);
        } else {
            let (shape, expected) = expected(&format!("grad.{}", t.name)).clone();
            let expected = match shape.as_slice() {
                &[rows, columns] if linear => transposed(&expected, rows, columns),
                _ => expected,
            };
            let got = &gradients[&t.name].1;
            if t.name.ends_with("linear.bias") {
                // Before a normalisation: 0 but for rounding.
                assert!(expected.iter().all(|x| x.abs() < 1e-12), "{case}");
                assert!(got.iter().all(|x| x.abs() < 1e-5), "{case}: {got:?}");
                continue;
            }
            assert_close(&format!("{case} gradient of {}", t.name), got, &expected);
        }
    }
}
