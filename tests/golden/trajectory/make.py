"""Fifty BYOL steps of a small network without batch normalisation, in PyTorch.

Source: Grill et al. 2020, section 3; schedules: DeepMind's byol/utils/schedules.py (linear
warm-up from 0, then half a cosine to 0; tau from its base to 1 by half a cosine, both of the
optimiser step); LARS: byol/utils/optimizers.py (see ../lars); SGD and AdamW: torch.optim.

Each optimiser step has two micro-batches of 8 pictures, whose gradients are averaged, and
then one average of the target. Network: f = tanh(LayerNorm(W x + b)) of 1x6x6 pictures to 16,
g and q one linear map each without bias. Biases and the normalisation have neither decay nor
trust ratio. Linear weights are stored [input, output].

Numbers come from a counter through a hash (`values`), so that a test needs no file of
inputs. Computed in float64; float32 is compared and the gap printed.

Run: python make.py   (writes expected.json)
"""

import json
import math
from pathlib import Path

import torch
from torch.nn import functional as F

STEPS, WARMUP, PARTS, PART = 50, 5, 2, 8
TAU_BASE = 0.9
SHAPES = {
    "encoder.linear.weight": (36, 16),
    "encoder.linear.bias": (16,),
    "encoder.norm.gamma": (16,),
    "encoder.norm.beta": (16,),
    "projector.output.weight": (16, 8),
    "predictor.output.weight": (8, 8),
}
# projector_lr, predictor_lr: multiples of the learning rate.
CASES = [
    dict(name="lars", kind="lars", peak_lr=2.0, momentum=0.9, nesterov=False, weight_decay=1e-2, trust=1e-3,
         projector_lr=0.5, predictor_lr=4.0),
    dict(name="sgd", kind="sgd", peak_lr=0.1, momentum=0.9, nesterov=False, weight_decay=1e-2, trust=1e-3,
         projector_lr=1.0, predictor_lr=1.0),
    dict(name="nesterov", kind="sgd", peak_lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-2, trust=1e-3,
         projector_lr=0.0, predictor_lr=3.0),
    dict(name="adamw", kind="adamw", peak_lr=3e-3, momentum=0.9, nesterov=False, weight_decay=0.1, trust=1e-3,
         beta2=0.99, epsilon=1e-6, projector_lr=0.5, predictor_lr=4.0),
    dict(name="adamw-usual", kind="adamw", peak_lr=1e-2, momentum=0.9, nesterov=False, weight_decay=0.0, trust=1e-3,
         projector_lr=1.0, predictor_lr=1.0),
]
for case in CASES:
    case.setdefault("beta2", 0.999)
    case.setdefault("epsilon", 1e-8)


def values(start, n):
    """n numbers in [-1, 1) with 16 bits each, for counters from start (PCG's output hash)."""
    out = []
    for i in range(start, start + n):
        x = (i * 747796405 + 2891336453) % 2**32
        x = (((x >> ((x >> 28) + 4)) ^ x) * 277803737) % 2**32
        out.append((((x >> 22) ^ x) >> 16) / 2**15 - 1.0)
    return out


def parameters(start, dtype):
    """Tensors by name; each starts at its own counter."""
    out = {}
    for i, (name, shape) in enumerate(SHAPES.items()):
        t = torch.tensor(values(start + 10_000 * i, math.prod(shape)), dtype=dtype).reshape(shape)
        out[name] = 1 + t / 4 if name.endswith("gamma") else t / 4
    return out


def pictures(step, part, view, dtype):
    start = 1_000_000 + ((step * PARTS + part) * 2 + view) * PART * 36
    return torch.tensor(values(start, PART * 36), dtype=dtype).reshape(PART, 36)


def z(p, x):
    y = F.layer_norm(x @ p["encoder.linear.weight"] + p["encoder.linear.bias"], (16,),
                     p["encoder.norm.gamma"], p["encoder.norm.beta"], 1e-5)
    return torch.tanh(y) @ p["projector.output.weight"]


def loss_fn(a, b):
    return (2 - 2 * F.cosine_similarity(a, b, dim=1)).mean()


def run(case, dtype):
    online = {n: t.requires_grad_() for n, t in parameters(0, dtype).items()}
    target = {n: t for n, t in parameters(100_000, dtype).items() if not n.startswith("predictor")}
    rate = lambda n: case.get(n.split(".")[0] + "_lr", 1.0)
    groups = [dict(params=[t], weight_decay=case["weight_decay"] * n.endswith("weight"), name=n)
              for n, t in online.items()]
    if case["kind"] == "adamw":
        theirs = torch.optim.AdamW(groups, lr=1.0, betas=(case["momentum"], case["beta2"]), eps=case["epsilon"])
    else:
        theirs = torch.optim.SGD(groups, lr=1.0, momentum=case["momentum"], nesterov=case["nesterov"])
    momenta = {n: torch.zeros_like(t) for n, t in online.items()}
    losses = []
    for k in range(STEPS):
        cosine = lambda progress: 0.5 * (1 + math.cos(math.pi * progress))
        lr = case["peak_lr"] * (k / WARMUP if k < WARMUP else cosine((k - WARMUP) / (STEPS - WARMUP)))
        tau = 1 - (1 - TAU_BASE) * cosine(k / STEPS)
        theirs.zero_grad()
        total = 0.0
        for part in range(PARTS):
            v, v_prime = (pictures(k, part, view, dtype) for view in (0, 1))
            q, q_prime = (z(online, x) @ online["predictor.output.weight"] for x in (v, v_prime))
            with torch.no_grad():
                xi, xi_prime = z(target, v), z(target, v_prime)
            loss = (loss_fn(q, xi_prime) + loss_fn(q_prime, xi)) / PARTS
            loss.backward()
            total += loss.item()
        losses.append(total)
        if case["kind"] != "lars":
            for group in theirs.param_groups:
                group["lr"] = lr * rate(group["name"])
            theirs.step()
        with torch.no_grad():
            for name, w in online.items():
                if case["kind"] == "lars":
                    d = w.grad
                    if name.endswith("weight"):
                        d = d + case["weight_decay"] * w
                        d = case["trust"] * w.norm() / d.norm() * d
                    momenta[name] = case["momentum"] * momenta[name] + d
                    w -= lr * rate(name) * momenta[name]
            for name, t in target.items():
                t.copy_(tau * t + (1 - tau) * online[name])
    flat = lambda tensors: {n: t.detach().flatten().tolist() for n, t in tensors.items()}
    return dict(losses=losses, online=flat(online), target=flat(target))


def main():
    torch.set_num_threads(1)
    out = []
    for case in CASES:
        expected, single = run(case, torch.float64), run(case, torch.float32)
        gap = 0.0
        for network in ("online", "target"):
            for name, values64 in expected[network].items():
                a, b = torch.tensor(single[network][name]).double(), torch.tensor(values64, dtype=torch.float64)
                gap = max(gap, ((a - b).norm() / b.norm()).item())
        start = parameters(0, torch.float64)
        moved = min((torch.tensor(v, dtype=torch.float64) - start[n].flatten()).norm() / start[n].norm()
                    for n, v in expected["online"].items() if case.get(n.split(".")[0] + "_lr") != 0)
        print(f"{case['name']}: float32 differs by {gap:.1e}, every tensor moved by {moved:.1%} or more, "
              f"loss {expected['losses'][0]:.3f} to {expected['losses'][-1]:.3f}")
        assert gap < 5e-6 and moved > 0.01
        short = lambda v: [float(f"{x:.9g}") for x in v]
        out.append(dict(case, losses=short(expected["losses"]),
                        **{k: {n: short(v) for n, v in expected[k].items()} for k in ("online", "target")}))
    path = Path(__file__).parent / "expected.json"
    path.write_text(json.dumps(dict(steps=STEPS, warmup_steps=WARMUP, tau_base=TAU_BASE, runs=out)) + "\n")


if __name__ == "__main__":
    main()
