//! Applying: parameters and pixels give a view.

use crate::kernels::{Buffer, Isa, dispatch};
use crate::ops::blur::{BlurBuffers, Blurrer};
use crate::ops::crop::{CropBuffers, CropTask, Resizer};
use crate::ops::{pointwise, top, whole};
use crate::policy::check_size;
use crate::program::{Head, Program, Step};
use crate::{
    AugmentError, CropBox, Normalize, OpParams, Path, Pixels, Resample, Semantics, ViewParams, ViewPolicy,
};

/// Pixels of a strip: what stays in the first cache.
const STRIP: usize = 2048;
/// A strip has a multiple of this many pixels, so that no loop has a remainder.
const GRAIN: usize = 64;

/// Buffers that are reused from view to view, and the instructions that fill them.
/// Use one per thread. Nothing is allocated once the largest view has been made.
#[derive(Debug)]
pub struct Workspace {
    path: Path,
    crop: CropBuffers,
    blur: BlurBuffers,
    program: Program,
    planes: Buffer,
    scratch: Vec<f32>,
    sums: Vec<f64>,
    means: Vec<f32>,
}

impl Default for Workspace {
    /// On the fastest path that the processor has.
    fn default() -> Self {
        Self::on(Path::best())
    }
}

impl Workspace {
    /// On a path of your choice.
    ///
    /// # Errors
    ///
    /// If the processor lacks it.
    pub fn with_path(path: Path) -> Result<Self, AugmentError> {
        if path.is_available() { Ok(Self::on(path)) } else { Err(AugmentError::NoPath { path: path.name() }) }
    }

    /// The path that it uses.
    pub fn path(&self) -> Path {
        self.path
    }

    fn on(path: Path) -> Self {
        Self {
            path,
            crop: CropBuffers::default(),
            blur: BlurBuffers::default(),
            program: Program::default(),
            planes: Buffer::default(),
            scratch: Vec::new(),
            sums: Vec::new(),
            means: Vec::new(),
        }
    }
}

/// One view to be made.
pub(crate) struct Job<'a> {
    pub semantics: Semantics,
    pub crop: CropBox,
    pub resample: Resample,
    pub size: usize,
    pub ops: &'a [OpParams],
    pub normalize: &'a Normalize,
    pub pixels: Pixels<'a>,
    pub workspace: &'a mut Workspace,
    pub view: &'a mut [f32],
}

impl Job<'_> {
    /// Makes the view.
    ///
    /// # Errors
    ///
    /// If the output or the parameters do not fit the picture.
    pub(crate) fn run(self) -> Result<(), AugmentError> {
        let shape = self.pixels.shape();
        check_size(self.size)?;
        self.normalize.check(shape.channels)?;
        let expected = self.size * self.size * shape.channels;
        if self.view.len() != expected {
            return Err(AugmentError::OutputLength { expected, got: self.view.len() });
        }
        let CropBox { x, y, width, height } = self.crop;
        let inside = |from: usize, len: usize, limit: usize| {
            len > 0 && from.checked_add(len).is_some_and(|end| end <= limit)
        };
        if !inside(x, width, shape.width) || !inside(y, height, shape.height) {
            return Err(AugmentError::Params {
                what: format!("a crop of {width}x{height} at ({x}, {y})"),
                got: format!("a picture of {shape}"),
            });
        }
        for op in self.ops {
            check_params(op, shape.channels)?;
        }
        dispatch(self.workspace.path, self);
        Ok(())
    }
}

/// What replayed parameters could have wrong for these pixels.
fn check_params(op: &OpParams, channels: usize) -> Result<(), AugmentError> {
    let colour = |op| if channels == 3 { Ok(()) } else { Err(AugmentError::NeedsColour { op, channels }) };
    match op {
        OpParams::Grayscale => colour("grayscale"),
        OpParams::ColorJitter { steps } => {
            let needs = |step| matches!(step, crate::JitterOp::Saturation(_) | crate::JitterOp::Hue(_));
            if steps.iter().any(needs) { colour("color_jitter with saturation or hue") } else { Ok(()) }
        }
        OpParams::ChannelGain { channels: drawn } if drawn.len() != channels => Err(AugmentError::Params {
            what: format!("gains of {} channels", drawn.len()),
            got: format!("a picture of {channels}"),
        }),
        OpParams::Blur { sigma, radius, .. }
            if *sigma <= 0.0 || sigma.is_nan() || *radius > crate::policy::MAX_SIZE =>
        {
            Err(AugmentError::Policy {
                key: "blur".into(),
                value: format!("sigma {sigma}, radius {radius}"),
                expected: "a positive sigma and a radius of at most 4096",
            })
        }
        _ => Ok(()),
    }
}

impl ViewPolicy {
    /// Makes a view: crop and resize, the drawn operations, normalisation. Writes
    /// `f32`, channels first (CHW), to `view`.
    ///
    /// # Errors
    ///
    /// If `view` does not hold [`output_len`](Self::output_len) values or the
    /// parameters were drawn for a picture of another shape.
    pub fn apply(
        &self,
        params: &ViewParams,
        pixels: Pixels<'_>,
        workspace: &mut Workspace,
        view: &mut [f32],
    ) -> Result<(), AugmentError> {
        if params.source != pixels.shape() {
            return Err(AugmentError::ShapeMismatch {
                expected: params.source.to_string(),
                got: pixels.shape().to_string(),
            });
        }
        Job {
            semantics: self.semantics,
            crop: params.crop,
            resample: self.resample,
            size: self.size,
            ops: &params.ops,
            normalize: &self.normalize,
            pixels,
            workspace,
            view,
        }
        .run()
    }
}

/// The pipeline, on one instruction set.
#[inline(always)]
pub(crate) fn run<I: Isa>(job: Job<'_>) {
    match job.semantics {
        Semantics::Paper => run_as::<I, false>(job),
        Semantics::Torchvision => run_as::<I, true>(job),
    }
}

#[inline(always)]
fn run_as<I: Isa, const TV: bool>(job: Job<'_>) {
    let Job { crop, resample, size, ops, normalize, pixels, workspace, view, .. } = job;
    let Workspace { crop: crop_buffers, blur, program, planes, scratch, sums, means, .. } = workspace;
    let channels = pixels.shape().channels;
    program.arrange(ops);
    let n = size * size;
    let mut sheet =
        Sheet { size, channels, stride: n.next_multiple_of(GRAIN) + GRAIN, planes, view, normalize };
    sheet.planes.grow(channels * sheet.stride);
    let (strip_rows, last) = (strip_rows(size), program.passes.len() - 1);
    for (i, pass) in program.passes.iter().enumerate() {
        let (mirror_x, mirror_y) = (program.mirror_x, program.mirror_y);
        let mut resizer = match pass.head {
            Head::Crop => {
                let task = CropTask { pixels, crop, resample, size, mirror_x, mirror_y };
                Some(Resizer::new::<TV>(task, crop_buffers))
            }
            _ => None,
        };
        let mut blurrer = match pass.head {
            Head::Blur(op) => match ops[op] {
                OpParams::Blur { sigma, radius, border } => {
                    Some(Blurrer::new::<TV>(blur, [size, size], channels, radius, sigma, border))
                }
                _ => None,
            },
            _ => None,
        };
        if let Head::Whole(op) = pass.head {
            sheet.whole::<TV>(&ops[op], scratch);
        }
        sums.clear();
        sums.resize(channels, 0.0);
        for first in (0..size).step_by(strip_rows) {
            let rows = first..(first + strip_rows).min(size);
            if let Some(resizer) = &mut resizer {
                for y in rows.clone() {
                    resizer.row::<I, TV>(y, sheet.planes, sheet.stride);
                }
            }
            if let Some(blurrer) = &mut blurrer {
                for y in rows.clone() {
                    blurrer.row::<I, TV>(y, sheet.planes, sheet.stride);
                }
            }
            // The last strip goes on to a whole grain; what lies there is never seen.
            let end = if rows.end == size { n.next_multiple_of(GRAIN) } else { rows.end * size };
            let strip = rows.start * size..end;
            if let Head::Contrast(factor) = pass.head {
                for c in 0..channels {
                    let mean = means[if TV { 0 } else { c }];
                    pointwise::contrast::<I, TV>(sheet.plane(c, strip.clone()), factor, mean);
                }
            }
            for step in &program.steps[pass.steps.clone()] {
                sheet.step::<I, TV>(*step, ops, strip.clone());
            }
            let seen = strip.start..rows.end * size;
            if pass.mean {
                sheet.add_up::<I, TV>(seen.clone(), sums);
            }
            if i == last {
                sheet.finish::<TV>(seen);
            }
        }
        if pass.mean {
            means.clear();
            if TV && channels != 3 {
                means.push((sums.iter().sum::<f64>() / (n * channels) as f64) as f32);
            } else {
                means.extend(sums.iter().map(|sum| (sum / n as f64) as f32));
            }
        }
    }
}

/// Rows of a strip: about [`STRIP`] pixels, a multiple of [`GRAIN`].
fn strip_rows(size: usize) -> usize {
    let step = GRAIN >> size.trailing_zeros().min(GRAIN.trailing_zeros());
    (STRIP / size / step).max(1) * step
}

/// The view while it is made: planes with room behind each, and where it will go.
struct Sheet<'a> {
    size: usize,
    channels: usize,
    stride: usize,
    planes: &'a mut Buffer,
    view: &'a mut [f32],
    normalize: &'a Normalize,
}

impl Sheet<'_> {
    #[inline(always)]
    fn plane(&mut self, c: usize, strip: std::ops::Range<usize>) -> &mut [f32] {
        &mut self.planes[c * self.stride..][strip]
    }

    /// Three channels; a policy is checked to have colour operations for RGB only.
    #[inline(always)]
    fn rgb(&mut self, strip: std::ops::Range<usize>) -> pointwise::Rgb<'_> {
        let (red, rest) = self.planes.split_at_mut(self.stride);
        let (green, blue) = rest.split_at_mut(self.stride);
        [&mut red[strip.clone()], &mut green[strip.clone()], &mut blue[strip]]
    }

    #[inline(always)]
    fn step<I: Isa, const TV: bool>(&mut self, step: Step, ops: &[OpParams], strip: std::ops::Range<usize>) {
        match step {
            Step::Saturation(factor) => pointwise::saturation::<I, TV>(self.rgb(strip), factor),
            Step::Hue(delta) => pointwise::hue::<I, TV>(self.rgb(strip), delta),
            Step::Grayscale => pointwise::grayscale::<I, TV>(self.rgb(strip)),
            _ => {
                for c in 0..self.channels {
                    let plane = self.plane(c, strip.clone());
                    match step {
                        Step::Brightness(value) => pointwise::brightness::<I, TV>(plane, value),
                        Step::Solarize(threshold) => pointwise::solarize::<I, TV>(plane, threshold),
                        Step::Posterize(bits) => pointwise::posterize::<I, TV>(plane, bits),
                        Step::ChannelGain(op) => {
                            if let OpParams::ChannelGain { channels } = &ops[op] {
                                let [gain, offset] = channels.of(c);
                                pointwise::channel_gain::<I, TV>(plane, gain, offset);
                            }
                        }
                        Step::Saturation(_) | Step::Hue(_) | Step::Grayscale => {}
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn add_up<I: Isa, const TV: bool>(&self, strip: std::ops::Range<usize>, sums: &mut [f64]) {
        let plane = |c: usize| &self.planes[c * self.stride..][strip.clone()];
        if TV && self.channels == 3 {
            sums[0] += pointwise::sum_luma::<I, TV>([plane(0), plane(1), plane(2)]);
        } else {
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum += pointwise::sum::<I>(plane(c));
            }
        }
    }

    #[inline(always)]
    fn finish<const TV: bool>(&mut self, strip: std::ops::Range<usize>) {
        let n = self.size * self.size;
        for c in 0..self.channels {
            let (mean, std) = self.normalize.channel(c);
            let from = &self.planes[c * self.stride..][strip.clone()];
            let to = &mut self.view[c * n..][strip.clone()];
            pointwise::normalize(from, to, 1.0 / (std * top::<TV>()), -mean / std);
        }
    }

    fn whole<const TV: bool>(&mut self, op: &OpParams, scratch: &mut Vec<f32>) {
        let (size, n) = (self.size, self.size * self.size);
        let planes = self.planes.chunks_exact_mut(self.stride).take(self.channels);
        let planes = planes.map(|plane| &mut plane[..n]);
        match op {
            OpParams::Noise { sigma, seed } => whole::noise::<TV>(planes, *sigma, *seed),
            _ => planes.for_each(|plane| match op {
                OpParams::HorizontalFlip => whole::mirror_x(plane, size),
                OpParams::VerticalFlip => whole::mirror_y(plane, size),
                OpParams::RightAngle { quarter_turns } => {
                    whole::right_angle(plane, size, *quarter_turns, scratch);
                }
                OpParams::Rotate { degrees, fill } => {
                    whole::rotate::<TV>(plane, size, *degrees, *fill, scratch);
                }
                OpParams::Erase { area, value } => whole::erase::<TV>(plane, size, *area, *value),
                _ => {} // arranged as steps
            }),
        }
    }
}
