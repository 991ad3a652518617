//! Operations on each pixel by itself, and about a mean, with values of each picture.

use burn::tensor::{Device, Int, Tensor, TensorData};
use byol_augment::{ChannelGains, JitterOp, OpParams};

use super::where_drawn;

const LUMA: [f64; 3] = [0.2989, 0.5870, 0.1140];

/// Whose arithmetic, and where.
pub(super) struct Colours {
    pub torchvision: bool,
    pub device: Device,
}

impl Colours {
    /// The largest value.
    pub(super) fn top(&self) -> f32 {
        if self.torchvision { 255.0 } else { 1.0 }
    }

    pub(super) fn values(&self, values: Vec<f32>) -> Tensor<1> {
        let n = values.len();
        Tensor::from_data(TensorData::new(values, [n]), &self.device)
    }

    /// A value of each picture, `[N, 1, 1, 1]`.
    pub(super) fn each(&self, values: Vec<f32>) -> Tensor<4> {
        let n = values.len();
        self.values(values).reshape([n, 1, 1, 1])
    }

    fn clipped(&self, x: Tensor<4>) -> Tensor<4> {
        x.clamp(0.0, self.top())
    }

    /// To the level below, as torchvision's colours convert to 8 bits.
    fn cut(&self, x: Tensor<4>) -> Tensor<4> {
        if self.torchvision { x.floor() } else { x }
    }

    /// To the nearest level, as its resampling rounds.
    pub(super) fn finished(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.clipped(x);
        if self.torchvision { x.round() } else { x }
    }

    fn luma(&self, x: &Tensor<4>) -> Tensor<4> {
        let [r, g, b] = rgb(x);
        self.cut(r * LUMA[0] + g * LUMA[1] + b * LUMA[2])
    }

    pub(super) fn grey(&self, x: &Tensor<4>) -> Tensor<4> {
        self.luma(x).expand(x.dims())
    }

    /// Up to four steps in the order of each picture.
    pub(super) fn jittered(&self, mut x: Tensor<4>, steps: &[Vec<JitterOp>]) -> Tensor<4> {
        let longest = steps.iter().map(Vec::len).max().unwrap_or(0);
        for i in 0..longest {
            let at = |kind: fn(&JitterOp) -> Option<f32>| -> Vec<Option<f32>> {
                steps.iter().map(|steps| steps.get(i).and_then(kind)).collect()
            };
            let brightness = at(|step| if let JitterOp::Brightness(x) = step { Some(*x) } else { None });
            let contrast = at(|step| if let JitterOp::Contrast(x) = step { Some(*x) } else { None });
            let saturation = at(|step| if let JitterOp::Saturation(x) = step { Some(*x) } else { None });
            let hue = at(|step| if let JitterOp::Hue(x) = step { Some(*x) } else { None });
            // A picture has one of them here: their order among each other is of no account.
            x = self.step(x, &brightness, |x, value| self.brighter(x, value));
            x = self.step(x, &contrast, |x, value| self.contrasted(x, value));
            x = self.step(x, &saturation, |x, value| self.saturated(x, value));
            x = self.step(x, &hue, |x, value| self.turned(x, value));
        }
        x
    }

    fn step(
        &self,
        x: Tensor<4>,
        drawn: &[Option<f32>],
        f: impl FnOnce(Tensor<4>, Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        if drawn.iter().all(Option::is_none) {
            return x;
        }
        let values = self.each(drawn.iter().map(|value| value.unwrap_or(0.0)).collect());
        where_drawn(&x.clone(), f(x, values), drawn, self)
    }

    fn brighter(&self, x: Tensor<4>, value: Tensor<4>) -> Tensor<4> {
        let x = if self.torchvision { x * value } else { x + value };
        self.cut(self.clipped(x))
    }

    fn contrasted(&self, x: Tensor<4>, factor: Tensor<4>) -> Tensor<4> {
        let over_view = |x: Tensor<4>| x.mean_dim(3).mean_dim(2);
        let x = if self.torchvision {
            let channels = x.dims()[1];
            let mean =
                if channels == 3 { over_view(self.luma(&x)) } else { over_view(x.clone()).mean_dim(1) };
            x * factor.clone() + mean * (-factor + 1.0)
        } else {
            let mean = over_view(x.clone());
            (x - mean.clone()) * factor + mean
        };
        self.cut(self.clipped(x))
    }

    fn saturated(&self, x: Tensor<4>, factor: Tensor<4>) -> Tensor<4> {
        if self.torchvision {
            let grey = self.luma(&x) * (-factor.clone() + 1.0);
            return self.cut(self.clipped(x * factor + grey));
        }
        let (value, least) = (x.clone().max_dim(1), x.clone().min_dim(1));
        let most = value.clone() / (value.clone() - least).clamp_min(1e-12);
        let factor = most.clone().min_pair(factor.expand(most.dims()));
        self.clipped(value.clone() - (value - x) * factor)
    }

    /// HSV hue + `delta` turns.
    fn turned(&self, x: Tensor<4>, delta: Tensor<4>) -> Tensor<4> {
        let [r, g, b] = rgb(&x);
        let (value, least) = (x.clone().max_dim(1), x.min_dim(1));
        let range = value.clone() - least.clone();
        let inverse = range.clone().clamp_min(1e-12).recip();
        // In sixths of a turn from red, green or blue, whichever is largest.
        let sixths = (r.clone() - g.clone()) * inverse.clone() + 4.0;
        let of_green = (b.clone() - r.clone()) * inverse.clone() + 2.0;
        let sixths = sixths.mask_where(g.clone().greater_equal(value.clone()), of_green);
        let of_red = (g - b) * inverse;
        let sixths = sixths.mask_where(r.greater_equal(value), of_red) + delta * 6.0;
        let sixths = sixths.clone() - (sixths * (1.0 / 6.0)).floor() * 6.0;
        let red = (sixths.clone() - 3.0).abs() - 1.0;
        let green = -(sixths.clone() - 2.0).abs() + 2.0;
        let blue = -(sixths - 4.0).abs() + 2.0;
        let shares = Tensor::cat(vec![red, green, blue], 1).clamp(0.0, 1.0);
        let x = least + range * shares;
        if self.torchvision { (x * (255.999 / 255.0)).floor() } else { x }
    }

    pub(super) fn gained(&self, x: Tensor<4>, gains: &[Option<&ChannelGains>]) -> Tensor<4> {
        let [n, c, _, _] = x.dims();
        let of = |i: usize| {
            gains
                .iter()
                .flat_map(move |gains| (0..c).map(move |c| gains.map_or([1.0, 0.0], |gains| gains.of(c))[i]))
        };
        let [gain, offset] = [0, 1].map(|i| self.values(of(i).collect()).reshape([n, c, 1, 1]));
        self.finished(x * gain + offset * self.top())
    }

    pub(super) fn solarized(&self, x: Tensor<4>, threshold: Tensor<4>) -> Tensor<4> {
        let bright = x.clone().greater_equal((threshold * self.top()).expand(x.dims()));
        x.clone().mask_where(bright, -x + self.top())
    }

    /// The highest bits of the nearest level; `step` is 2 to the number of those that go.
    pub(super) fn posterized(&self, x: Tensor<4>, step: Tensor<4>) -> Tensor<4> {
        let scale = 255.0 / self.top();
        let half = step.clone().recip() * 0.5;
        (x * (step.clone().recip() * scale) + half).floor() * (step / scale)
    }

    pub(super) fn erased(&self, x: &Tensor<4>, drawn: &[Option<&OpParams>]) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let of = |f: &dyn Fn(&byol_augment::CropBox, f32) -> f32| {
            self.each(
                drawn
                    .iter()
                    .map(|op| match op {
                        Some(OpParams::Erase { area, value }) => f(area, *value),
                        _ => 0.0,
                    })
                    .collect(),
            )
        };
        let along = |n: usize| Tensor::<1, Int>::arange(0..n as i64, &self.device).float();
        let (columns, rows) =
            (along(width).reshape([1, 1, 1, width]), along(height).reshape([1, 1, height, 1]));
        let between = |x: Tensor<4>, from: Tensor<4>, to: Tensor<4>| {
            x.clone().greater_equal(from).float() * x.lower(to).float()
        };
        let across = between(columns, of(&|a, _| a.x as f32), of(&|a, _| (a.x + a.width) as f32));
        let down = between(rows, of(&|a, _| a.y as f32), of(&|a, _| (a.y + a.height) as f32));
        let value = self.finished(of(&|_, value| value) * self.top());
        let inside = (across * down).greater_elem(0.5).expand(x.dims());
        x.clone().mask_where(inside, value.expand(x.dims()))
    }
}

fn rgb(x: &Tensor<4>) -> [Tensor<4>; 3] {
    [0, 1, 2].map(|c| x.clone().narrow(1, c, 1))
}
