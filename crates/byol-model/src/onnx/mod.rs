//! A ResNet as an ONNX model, for every runtime that reads the format.

mod proto;

use prost::Message;
use serde::Serialize;

use crate::resnet::block::{BlockShape, ConvShape};
use crate::{BatchNormConfig, Encoder, ModelError, ResNet, ResNetConfig, Role, Stem, Version, named_tensors};
use proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// Operators of ONNX 1.12 (2022), which every runtime in use has.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;
/// ONNX's numbers of f32 and of the kinds of attribute.
const FLOAT: i32 = 1;
const INT_ATTRIBUTE: i32 = 2;
const FLOAT_ATTRIBUTE: i32 = 1;
const INTS_ATTRIBUTE: i32 = 7;
/// A message of protobuf may not be longer.
const MAX_BYTES: usize = i32::MAX as usize;

/// The encoder in evaluation mode as an ONNX model: `images`
/// `[batch, channels, height, width]`, normalised as `description` says, to
/// `representation` `[batch, D]`. Batch, height and width are free. Operators: Conv,
/// BatchNormalization, Relu, MaxPool, Add, GlobalAveragePool, Flatten (set 17).
/// `description` is JSON under the metadata key `byol`.
///
/// # Errors
///
/// If `config` is not the encoder's, or the model is larger than 2 GiB, ONNX's limit for
/// one file.
pub fn onnx_bytes(
    encoder: &ResNet,
    config: &ResNetConfig,
    description: &impl Serialize,
) -> Result<Vec<u8>, ModelError> {
    let text = serde_json::to_string(description).map_err(|e| ModelError::Unreadable(e.to_string()))?;
    let tensors = named_tensors(encoder);
    let n_parameters: u64 =
        tensors.iter().filter(|t| t.role != Role::Buffer).map(|t| t.values.len() as u64).sum();
    if config.cost(1)?.parameters != n_parameters {
        return Err(ModelError::Architecture(format!("the encoder is no {}", config.name())));
    }
    let bytes: usize = tensors.iter().map(|t| 4 * t.values.len()).sum();
    if bytes > MAX_BYTES {
        return Err(ModelError::Config {
            key: "format",
            value: format!("onnx for {bytes} bytes of weights"),
            expected: "at most 2 GiB in one ONNX file; export as safetensors",
        });
    }
    let initializer = tensors.into_iter().map(|t| TensorProto {
        dims: t.shape.iter().map(|&n| n as i64).collect(),
        data_type: Some(FLOAT),
        name: Some(t.name),
        raw_data: Some(t.values.iter().flat_map(|x| x.to_le_bytes()).collect()),
    });
    let graph = GraphProto {
        initializer: initializer.collect(),
        node: Nodes::of(config)?,
        name: Some(config.name()),
        input: vec![value(
            "images",
            [free("batch"), fixed(config.in_channels), free("height"), free("width")].into(),
        )],
        output: vec![value("representation", vec![free("batch"), fixed(encoder.dim())])],
    };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("byol".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: vec![StringStringEntryProto { key: Some("byol".into()), value: Some(text) }],
    };
    Ok(model.encode_to_vec())
}

/// The graph as it grows; the last node's output is the current value.
struct Nodes {
    nodes: Vec<NodeProto>,
}

impl Nodes {
    fn of(config: &ResNetConfig) -> Result<Vec<NodeProto>, ModelError> {
        let mut nodes = Self { nodes: Vec::new() };
        let (kernel, stride) = config.stem.kernel_and_stride();
        let stem = ConvShape { channels: [config.in_channels, config.width], kernel, stride };
        let mut x = nodes.conv("images".into(), "conv1", stem);
        if config.version == Version::V1 {
            x = nodes.norm(x, "bn1");
            x = nodes.relu(x, "relu");
        }
        if config.stem == Stem::Imagenet {
            let attributes = window(3, 2);
            x = nodes.add("MaxPool", "maxpool", vec![x], attributes);
        }
        for (i, stage) in config.stages()?.iter().enumerate() {
            for (j, block) in stage.iter().enumerate() {
                let name = format!("layer{}.{j}", i + 1);
                x = match config.version {
                    Version::V1 => nodes.postact(x, &name, block),
                    Version::V2 => nodes.preact(x, &name, block),
                };
            }
        }
        if config.version == Version::V2 {
            x = nodes.norm(x, "norm");
            x = nodes.relu(x, "norm.relu");
        }
        x = nodes.add("GlobalAveragePool", "avgpool", vec![x], vec![]);
        let axis = AttributeProto { i: Some(1), ..attribute("axis", INT_ATTRIBUTE) };
        nodes.add("Flatten", "flatten", vec![x], vec![axis]);
        if let Some(last) = nodes.nodes.last_mut() {
            last.output = vec!["representation".into()];
        }
        Ok(nodes.nodes)
    }

    fn postact(&mut self, x: String, name: &str, block: &BlockShape) -> String {
        let shortcut = match block.shortcut() {
            Some(shape) => {
                let projected = self.conv(x.clone(), &format!("{name}.downsample.0"), shape);
                self.norm(projected, &format!("{name}.downsample.1"))
            }
            None => x.clone(),
        };
        let (first, second, third) = block.convs();
        let mut x = x;
        for (i, shape) in [Some(first), Some(second), third].into_iter().flatten().enumerate() {
            if i > 0 {
                x = self.relu(x, &format!("{name}.relu{i}"));
            }
            x = self.conv(x, &format!("{name}.conv{}", i + 1), shape);
            x = self.norm(x, &format!("{name}.bn{}", i + 1));
        }
        let sum = self.add("Add", &format!("{name}.add"), vec![x, shortcut], vec![]);
        self.relu(sum, &format!("{name}.relu"))
    }

    fn preact(&mut self, x: String, name: &str, block: &BlockShape) -> String {
        let (first, second, third) = block.convs();
        let mut shortcut = x.clone();
        let mut x = x;
        for (i, shape) in [Some(first), Some(second), third].into_iter().flatten().enumerate() {
            x = self.norm(x, &format!("{name}.bn{}", i + 1));
            x = self.relu(x, &format!("{name}.relu{}", i + 1));
            if let (0, Some(projection)) = (i, block.shortcut()) {
                shortcut = self.conv(x.clone(), &format!("{name}.downsample.0"), projection);
            }
            x = self.conv(x, &format!("{name}.conv{}", i + 1), shape);
        }
        self.add("Add", &format!("{name}.add"), vec![x, shortcut], vec![])
    }

    fn conv(&mut self, x: String, name: &str, shape: ConvShape) -> String {
        let attributes = window(shape.kernel, shape.stride);
        self.add("Conv", name, vec![x, format!("{name}.weight")], attributes)
    }

    fn norm(&mut self, x: String, name: &str) -> String {
        let parameters = ["weight", "bias", "running_mean", "running_var"];
        let inputs = std::iter::once(x).chain(parameters.map(|part| format!("{name}.{part}"))).collect();
        let epsilon = BatchNormConfig::EPSILON as f32;
        let epsilon = AttributeProto { f: Some(epsilon), ..attribute("epsilon", FLOAT_ATTRIBUTE) };
        self.add("BatchNormalization", name, inputs, vec![epsilon])
    }

    fn relu(&mut self, x: String, name: &str) -> String {
        self.add("Relu", name, vec![x], vec![])
    }

    fn add(
        &mut self,
        operator: &str,
        name: &str,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let output = format!("{name}.output");
        self.nodes.push(NodeProto {
            input,
            output: vec![output.clone()],
            name: Some(name.into()),
            op_type: Some(operator.into()),
            attribute,
        });
        output
    }
}

/// Kernel, stride and padding of a square window.
fn window(kernel: usize, stride: usize) -> Vec<AttributeProto> {
    let ints = |name, n: usize, times| AttributeProto {
        ints: vec![n as i64; times],
        ..attribute(name, INTS_ATTRIBUTE)
    };
    vec![ints("kernel_shape", kernel, 2), ints("strides", stride, 2), ints("pads", kernel / 2, 4)]
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind), ..Default::default() }
}

fn value(name: &str, dim: Vec<DimensionProto>) -> ValueInfoProto {
    let tensor_type = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

fn fixed(n: usize) -> DimensionProto {
    DimensionProto { dim_value: Some(n as i64), dim_param: None }
}

fn free(name: &str) -> DimensionProto {
    DimensionProto { dim_value: None, dim_param: Some(name.into()) }
}
