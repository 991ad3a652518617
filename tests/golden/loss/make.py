"""BYOL's regression loss and its gradient, in PyTorch float64.

Source: Grill et al. 2020, Eq. 2, and DeepMind's byol/utils/helpers.py:
  n(x)       = x * rsqrt(max(sum(x^2), 1e-12))       per row
  loss(q, z) = mean over rows of 2 - 2 * <n(q), n(z)>
  total      = loss(q1, z2) + loss(q2, z1)           the symmetrised form
The target side z carries no gradient.

Run: python make.py   (writes expected.json beside itself)
"""

import json
from pathlib import Path

import torch

ROWS, COLS = 8, 16


def normalise(x):
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True).clamp_min(1e-12))


def loss(q, z):
    return (2.0 - 2.0 * (normalise(q) * normalise(z.detach())).sum(-1)).mean()


def main():
    torch.set_num_threads(1)
    gen = torch.Generator().manual_seed(30)

    def normal():
        return torch.randn(ROWS, COLS, generator=gen, dtype=torch.float64)

    q, z = normal().requires_grad_(), normal()
    z[3] *= 1e-3  # a row of tiny norm, still above the floor
    value = loss(q, z)
    value.backward()

    q1, z1, q2, z2 = (normal() for _ in range(4))
    q1.requires_grad_()
    q2.requires_grad_()
    total = loss(q1, z2) + loss(q2, z1)
    total.backward()

    expected = {
        "rows": ROWS, "cols": COLS,
        "q": q.tolist(), "z": z.tolist(),
        "loss": value.item(), "grad_q": q.grad.tolist(),
        "symmetric": {
            "q1": q1.tolist(), "z1": z1.tolist(), "q2": q2.tolist(), "z2": z2.tolist(),
            "total": total.item(), "grad_q1": q1.grad.tolist(), "grad_q2": q2.grad.tolist(),
        },
    }
    Path(__file__).with_name("expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
