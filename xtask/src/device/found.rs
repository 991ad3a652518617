//! The GPUs that there are.

use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::{
    backend::{CubeDevice, DispatchDevice},
    tensor::{DeviceType, FloatDType},
};

use super::Engine;

/// A GPU, through one of the back ends.
#[derive(Debug, Clone)]
pub struct Found {
    /// As `--device` takes it.
    pub name: String,
    /// As the driver calls it.
    pub title: String,
    /// The driver, as far as it says.
    pub driver: String,
    pub device: Device,
    /// A program that imitates a GPU on the CPU.
    pub software: bool,
    /// Bytes, where that is known.
    pub memory: Option<u64>,
    /// Bits of floating-point numbers that it computes with.
    pub precisions: Vec<&'static str>,
}

impl Found {
    /// What it is reached through.
    pub fn engine(&self) -> &str {
        self.name.split(':').next().unwrap_or_default()
    }
}

/// Those of a back end; none where this build lacks it, or where it finds none. That a driver is missing
/// is no error, whatever the driver's library makes of it.
pub fn found(engine: Engine) -> Vec<Found> {
    #[cfg(feature = "gpu")]
    {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let listed = std::panic::catch_unwind(|| listed(engine));
        std::panic::set_hook(quiet);
        listed.unwrap_or_default()
    }
    #[cfg(not(feature = "gpu"))]
    {
        let _ = engine;
        Vec::new()
    }
}

#[cfg(feature = "gpu")]
fn listed(engine: Engine) -> Vec<Found> {
    let kind = match engine {
        #[cfg(feature = "cuda")]
        Engine::Cuda => DeviceType::Cuda,
        #[cfg(feature = "vulkan")]
        Engine::Vulkan => DeviceType::Vulkan,
        #[cfg(feature = "wgpu")]
        Engine::Wgpu => DeviceType::Wgpu,
        #[allow(unreachable_patterns, reason = "all are built, perhaps")]
        _ => return Vec::new(),
    };
    let about = |(index, device): (usize, Device)| {
        let DispatchDevice::Cube(cube) = device.as_dispatch() else { return None };
        let client = cube.client();
        let properties = client.properties();
        let title = properties.identity.name.clone();
        let dtypes = [("f32", FloatDType::F32), ("bf16", FloatDType::BF16), ("f16", FloatDType::F16)];
        let has = |(name, dtype)| device.supports_dtype(dtype).then_some(name);
        Some(Found {
            name: format!("{engine}:{index}"),
            driver: driver(cube, &title)?,
            software: is_software(cube),
            memory: properties.memory.max_memory(),
            precisions: dtypes.into_iter().filter_map(has).collect(),
            title,
            device: device.clone(),
        })
    };
    Device::enumerate(kind).into_iter().enumerate().filter_map(about).collect()
}

#[cfg(feature = "gpu")]
fn is_software(device: &CubeDevice) -> bool {
    match device {
        #[cfg(any(feature = "wgpu", feature = "vulkan"))]
        CubeDevice::Wgpu(device) => device.kind == burn::backend::WgpuDeviceKind::Cpu,
        #[allow(unreachable_patterns, reason = "it is the only one, perhaps")]
        _ => false,
    }
}

/// What the driver says of itself, or for CUDA the kernel's part of it. None where it is one of OpenGL's, which is
/// what is left where Vulkan has no driver, and does not do.
#[cfg(feature = "gpu")]
fn driver(device: &CubeDevice, title: &str) -> Option<String> {
    match device {
        #[cfg(any(feature = "wgpu", feature = "vulkan"))]
        CubeDevice::Wgpu(_) => {
            use burn::backend::wgpu::wgpu;
            let instance = wgpu::Instance::default();
            let adapters = burn::tensor::read_sync(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
            let infos = adapters.iter().map(wgpu::Adapter::get_info);
            let of =
                |info: wgpu::AdapterInfo| format!("{} {}", info.driver, info.driver_info).trim().to_owned();
            infos.filter(|info| info.name == title).map(of).next()
        }
        #[allow(unreachable_patterns, reason = "it is the only one, perhaps")]
        _ => {
            let _ = title;
            let version = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
            Some(version.lines().next().unwrap_or_default().trim().to_owned())
        }
    }
}
