//! Against sums in f64, on every path of this machine; gradients against finite
//! differences in f64.

use std::sync::{Arc, Barrier, Mutex};

use proptest::prelude::*;

use super::*;

const EPSILON: f64 = 1e-5;

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let hash = |i: u32| {
        let h = (i.wrapping_mul(2_654_435_769) ^ seed).wrapping_mul(0x85EB_CA6B);
        (((h ^ (h >> 15)) >> 8) as f32) / 8_388_608.0 - 1.0
    };
    (0..n as u32).map(hash).collect()
}

/// One channel in f64: results (with shortcut and ReLU), mean, variance.
fn channel(x: &[f64], gamma: f64, beta: f64, shortcut: &[f64], relu: bool) -> (Vec<f64>, f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let y = x.iter().zip(shortcut).map(|(x, s)| {
        let y = gamma * (x - mean) / (variance + EPSILON).sqrt() + beta + s;
        if relu { y.max(0.0) } else { y }
    });
    (y.collect(), mean, variance)
}

fn column(values: &[f32], channels: usize, c: usize) -> Vec<f64> {
    values.iter().skip(c).step_by(channels).map(|&x| f64::from(x)).collect()
}

fn near(got: f32, expected: f64, scale: f64, what: &str) {
    assert!((f64::from(got) - expected).abs() <= 2e-5 * scale.max(1.0), "{what}: {got} against {expected}");
}

fn check(rows: usize, channels: usize, with_shortcut: bool, relu: bool) {
    let n = rows * channels;
    // Far from 0, so that squares would cancel.
    let x: Vec<f32> = numbers(n, 1).iter().map(|x| x + 30.0).collect();
    let (gamma, beta, dy) = (numbers(channels, 2), numbers(channels, 3), numbers(n, 4));
    let shortcut = if with_shortcut { numbers(n, 5) } else { vec![0.0; n] };
    for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
        let batch = statistics(path, &x, channels, None);
        let (scale, offset) = fold(&gamma, &beta, &batch.mean, &batch.variance, EPSILON);
        let y = affine(path, &x, &scale, &offset, with_shortcut.then_some(&shortcut[..]), relu);
        let over = affine(path, x.clone(), &scale, &offset, with_shortcut.then_some(&shortcut[..]), relu);
        assert_eq!(over, y, "over x");
        let of = Backward {
            x: (&x).into(),
            relu: if relu { Rectified::By(&y) } else { Rectified::Not },
            dy: (&dy).into(),
            gamma: &gamma,
            mean: &batch.mean,
            variance: &batch.variance,
            epsilon: EPSILON,
            shared: None,
        };
        let grads = backward(path, of.clone(), with_shortcut);
        let dy_owned = Backward { dy: dy.clone().into(), ..of.clone() };
        let both_owned = Backward { x: x.clone().into(), ..dy_owned.clone() };
        let x_owned = Backward { x: x.clone().into(), ..of.clone() };
        for owned in [dy_owned, both_owned, x_owned] {
            let over = backward(path, owned, with_shortcut);
            assert_eq!((&over.x, &over.shortcut), (&grads.x, &grads.shortcut), "over what is owned");
        }
        if relu && !with_shortcut {
            let again = Rectified::Again { scale: &scale, offset: &offset };
            let again = backward(path, Backward { relu: again, ..of }, false);
            assert_eq!(
                (again.x, again.gamma, again.beta),
                (grads.x.clone(), grads.gamma.clone(), grads.beta.clone()),
                "results made again"
            );
        }
        for c in 0..channels {
            let what = format!("{path:?} {rows}x{channels}, channel {c}");
            let (xs, ss) = (column(&x, channels, c), column(&shortcut, channels, c));
            let (gamma, beta) = (f64::from(gamma[c]), f64::from(beta[c]));
            let (expected, mean, variance) = channel(&xs, gamma, beta, &ss, relu);
            near(batch.mean[c], mean, 30.0, &what);
            near(batch.variance[c], variance, 1.0, &what);
            let rstd = 1.0 / (variance + EPSILON).sqrt();
            for (i, expected) in expected.iter().enumerate() {
                // x is rounded at 30.
                near(y[i * channels + c], *expected, 30.0 * rstd, &what);
            }
            if rows < 2 || rstd > 10.0 {
                continue;
            }
            // The gradient of sum(y · dy) behind the ReLU, by formula, is checked by
            // finite differences where no value is near the bend.
            let g: Vec<f64> =
                (0..rows)
                    .map(|i| {
                        if relu && y[i * channels + c] <= 0.0 { 0.0 } else { f64::from(dy[i * channels + c]) }
                    })
                    .collect();
            let hat: Vec<f64> = xs.iter().map(|x| (x - mean) * rstd).collect();
            let n = rows as f64;
            let (sum, dot) = (g.iter().sum::<f64>(), g.iter().zip(&hat).map(|(g, h)| g * h).sum::<f64>());
            near(grads.beta[c], sum, n.sqrt() * 4.0, &what);
            near(grads.gamma[c], dot, n.sqrt() * 40.0, &what);
            for i in 0..rows {
                let expected = gamma * rstd * (g[i] - sum / n - hat[i] * dot / n);
                near(grads.x[i * channels + c], expected, 100.0 * rstd, &what);
                if let Some(shortcut) = &grads.shortcut {
                    near(shortcut[i * channels + c], g[i], 1.0, &what);
                }
            }
            if !relu && rows < 40 {
                let loss = |xs: &[f64]| {
                    let (y, ..) = channel(xs, gamma, beta, &ss, false);
                    y.iter().enumerate().map(|(i, y)| y * f64::from(dy[i * channels + c])).sum::<f64>()
                };
                for i in 0..rows.min(3) {
                    let (mut up, mut down) = (xs.clone(), xs.clone());
                    up[i] += 1e-5;
                    down[i] -= 1e-5;
                    let slope = (loss(&up) - loss(&down)) / 2e-5;
                    near(grads.x[i * channels + c], slope, 100.0 * rstd, &format!("{what}, differences"));
                }
            }
        }
    }
}

#[test]
fn the_shapes_of_resnets_are_right() {
    for (rows, channels) in [(5000, 16), (4096, 64), (300, 96), (128, 512), (64, 4096), (7, 3), (1, 5)] {
        check(rows, channels, true, true);
        check(rows, channels, false, false);
    }
}

/// One of two threads that have half of a batch each.
#[derive(Debug)]
struct Half {
    rank: usize,
    meeting: Arc<(Barrier, Mutex<[Vec<f64>; 2]>)>,
}

impl Exchange for Half {
    fn world(&self) -> usize {
        2
    }

    fn sum(&self, sums: &mut [f64]) {
        let (barrier, numbers) = &*self.meeting;
        numbers.lock().unwrap()[self.rank] = sums.to_vec();
        barrier.wait();
        let both = numbers.lock().unwrap().clone();
        sums.iter_mut().zip(&both[0]).zip(&both[1]).for_each(|((sum, a), b)| *sum = a + b);
        barrier.wait();
    }
}

/// Halves of a batch that share their statistics are normalised as the whole of it, and so are the
/// gradients of its mean loss.
fn check_halves(rows: usize, channels: usize, relu: bool) {
    let n = 2 * rows * channels;
    let x: Vec<f32> = numbers(n, 1).iter().map(|x| 3.0 * x + 5.0).collect();
    let (gamma, beta, dy) = (numbers(channels, 2), numbers(channels, 3), numbers(n, 4));
    let path = Path::current();
    let all = |x: &[f32], dy: &[f32], shared: Option<&dyn Exchange>| {
        let batch = statistics(path, x, channels, shared);
        let (scale, offset) = fold(&gamma, &beta, &batch.mean, &batch.variance, EPSILON);
        let y = affine(path, x, &scale, &offset, None, relu);
        let relu = if relu { Rectified::By(&y) } else { Rectified::Not };
        let (gamma, mean, variance) = (&gamma[..], &batch.mean[..], &batch.variance[..]);
        let of =
            Backward { x: x.into(), relu, dy: dy.into(), gamma, mean, variance, epsilon: EPSILON, shared };
        (batch.clone(), backward(path, of, false))
    };
    let (whole, expected) = all(&x, &dy, None);
    let meeting = Arc::new((Barrier::new(2), Mutex::new([Vec::new(), Vec::new()])));
    let halves: Vec<_> = std::thread::scope(|scope| {
        let of = |rank: usize| {
            let half = rank * n / 2..(rank + 1) * n / 2;
            let (x, dy, of, meeting) = (&x[half.clone()], &dy[half], &all, meeting.clone());
            scope.spawn(move || of(x, dy, Some(&Half { rank, meeting })))
        };
        let threads = [of(0), of(1)];
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let rstd = |c: usize| 1.0 / (f64::from(whole.variance[c]) + EPSILON).sqrt();
    for c in 0..channels {
        let what = format!("twice {rows}x{channels}, channel {c}");
        for (batch, _) in &halves {
            near(batch.mean[c], whole.mean[c].into(), 5.0, &what);
            near(batch.variance[c], whole.variance[c].into(), 9.0, &what);
        }
        let sum = |of: fn(&backward::Gradients) -> &[f32]| halves.iter().map(|(_, g)| of(g)[c]).sum::<f32>();
        let n = (2.0 * rows as f64).sqrt();
        near(sum(|g| &g.gamma), expected.gamma[c].into(), 40.0 * n, &what);
        near(sum(|g| &g.beta), expected.beta[c].into(), 4.0 * n, &what);
    }
    let dx = halves.iter().flat_map(|(_, g)| &g.x);
    for (i, (got, expected)) in dx.zip(&expected.x).enumerate() {
        let rstd = rstd(i % channels);
        // Next to the bend of a ReLU the two may round to either side.
        if rstd < 10.0 && !relu {
            near(*got, (*expected).into(), 100.0 * rstd, &format!("twice {rows}x{channels}, value {i}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_is_right(rows in 1usize..300, channels in 1usize..150, shortcut: bool, relu: bool) {
        check(rows, channels, shortcut, relu);
    }

    #[test]
    fn halves_that_share_are_the_whole(rows in 1usize..300, channels in 1usize..150, relu: bool) {
        check_halves(rows, channels, relu);
    }

    #[test]
    fn threads_change_no_bit(rows in 1usize..9000, channels in 1usize..40) {
        let (x, dy) = (numbers(rows * channels, 1), numbers(rows * channels, 2));
        let gamma = numbers(channels, 3);
        let all = || {
            let path = Path::current();
            let batch = statistics(path, &x, channels, None);
            let of = Backward {
                x: (&x).into(),
                relu: Rectified::By(&dy),
                dy: (&dy).into(),
                gamma: &gamma,
                mean: &batch.mean,
                variance: &batch.variance,
                epsilon: EPSILON,
                shared: None,
            };
            let grads = backward(path, of, true);
            (affine(path, &x, &gamma, &gamma, None, true), grads.x, grads.gamma, grads.beta, grads.shortcut)
        };
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let one = pool(1).install(all);
        prop_assert_eq!(&one, &pool(3).install(all));
    }
}
