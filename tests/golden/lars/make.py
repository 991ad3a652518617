"""LARS and plain SGD updates over five steps, in PyTorch float32.

LARS: Grill et al. 2020, section 3.3, and DeepMind's byol/utils/optimizers.py.
For a tensor of role "weight":
  d     = g + wd * w
  ratio = trust * |w| / |d|   if |w| > 0 and |d| > 0, else 1
For roles "bias" and "norm": d = g and ratio = 1.  Then, for every tensor,
  m = momentum * m + ratio * d;   w = w - lr * m          (m starts at 0)

SGD: torch.optim.SGD itself, with and without Nesterov momentum, weight decay
on role "weight" only (two parameter groups).

Run: python make.py   (writes expected.json and expected_sgd.json beside itself)
"""

import json
from pathlib import Path

import torch

PARAMS = [  # name, role, shape
    ("conv.weight", "weight", [4, 3, 3, 3]),
    ("linear.weight", "weight", [5, 7]),
    ("zero.weight", "weight", [3, 2]),        # starts at zero: ratio must be 1
    ("idle.weight", "weight", [2, 2]),        # its gradient is always zero
    ("linear.bias", "bias", [5]),
    ("norm.weight", "norm", [4]),
    ("norm.bias", "norm", [4]),
]
LRS = [0.0, 0.3, 3.2, 1.0, 0.1]
MOMENTUM = 0.9
TRUST = 1e-3


def draw():
    """Initial values and the gradients of every step, by name."""
    gen = torch.Generator().manual_seed(20)
    init = {n: torch.randn(s, generator=gen) for n, _, s in PARAMS}
    init["zero.weight"].zero_()
    grads = [{n: torch.randn(s, generator=gen) for n, _, s in PARAMS} for _ in LRS]
    for g in grads:
        g["idle.weight"].zero_()
    return init, grads


def flat(t):
    return t.detach().flatten().tolist()


def record(init, grads, trace):
    return [{"name": n, "role": role, "shape": shape, "init": flat(init[n]),
             "steps": [{"lr": lr, "grad": flat(g[n]), "expected": flat(w[n])}
                       for lr, g, w in zip(LRS, grads, trace)]}
            for n, role, shape in PARAMS]


def lars(init, grads, weight_decay, dtype=torch.float32):
    w = {n: t.to(dtype).clone() for n, t in init.items()}
    m = {n: torch.zeros_like(t) for n, t in w.items()}
    trace = []
    for lr, g in zip(LRS, grads):
        for n, role, _ in PARAMS:
            d = g[n].to(dtype)
            if role == "weight":
                d = d + weight_decay * w[n]
                w_norm, d_norm = w[n].norm(), d.norm()
                if w_norm > 0 and d_norm > 0:
                    d = d * (TRUST * w_norm / d_norm)
            m[n] = MOMENTUM * m[n] + d
            w[n] = w[n] - lr * m[n]
        trace.append(dict(w))
    return trace


def sgd(init, grads, weight_decay, nesterov):
    w = {n: torch.nn.Parameter(t.clone()) for n, t in init.items()}
    decayed = [w[n] for n, role, _ in PARAMS if role == "weight"]
    plain = [w[n] for n, role, _ in PARAMS if role != "weight"]
    opt = torch.optim.SGD(
        [{"params": decayed, "weight_decay": weight_decay},
         {"params": plain, "weight_decay": 0.0}],
        lr=0.1, momentum=MOMENTUM, nesterov=nesterov)
    trace = []
    for lr, g in zip(LRS, grads):
        for group in opt.param_groups:
            group["lr"] = lr
        for n in w:
            w[n].grad = g[n].clone()
        opt.step()
        trace.append({n: t.detach().clone() for n, t in w.items()})
    return trace


def main():
    torch.set_num_threads(1)
    init, grads = draw()
    here = Path(__file__).parent

    runs = []
    for wd in (1.5e-6, 1e-2):
        trace = lars(init, grads, wd)
        exact = lars(init, grads, wd, torch.float64)
        gap = max((a[n] - b[n]).abs().max().item() for a, b in zip(trace, exact) for n in a)
        print(f"lars wd={wd}: float32 differs from float64 by at most {gap:.1e}")
        assert gap < 1e-5
        runs.append({"weight_decay": wd, "momentum": MOMENTUM, "trust": TRUST,
                     "params": record(init, grads, trace)})
    (here / "expected.json").write_text(json.dumps({"runs": runs}) + "\n")

    runs = [{"weight_decay": 1e-2, "momentum": MOMENTUM, "nesterov": nesterov,
             "params": record(init, grads, sgd(init, grads, 1e-2, nesterov))}
            for nesterov in (False, True)]
    (here / "expected_sgd.json").write_text(json.dumps({"runs": runs}) + "\n")


if __name__ == "__main__":
    main()
