"""The InfoNCE family, the ablation's normalisations and the diagnostics, in PyTorch
float64.

Source: Grill et al. 2020, section 5 (Eq. 5 with its terms written out by loops here),
Appendix F (normalisations); Wang and Isola 2020 (alignment, uniformity); Roy and
Vetterli 2007 (effective rank: the exponential of the entropy of the covariance's
normalised eigenvalues).

Run: python make.py   (writes expected.json beside itself)
"""

import json
import math
from pathlib import Path

import torch

ROWS, COLS = 7, 12


def unit(x):
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True).clamp_min(1e-12))


def info_nce(phi_v, psi_v, psi_w, alpha, beta):
    """2 - InfoNCE^{alpha, beta}, one direction, term by term."""
    n = len(phi_v)
    phi_v, psi_v, psi_w = unit(phi_v), unit(psi_v), unit(psi_w)
    total = 0.0
    for i in range(n):
        positive = phi_v[i] @ psi_w[i]
        terms = [(phi_v[i] @ psi_v[j]) / alpha for j in range(n) if j != i]
        terms += [(phi_v[i] @ psi_w[j]) / alpha for j in range(n)]
        total = total + 2.0 * positive - beta * 2.0 * alpha * torch.logsumexp(torch.stack(terms), 0)
    return 2.0 - total / n


NORMS = {
    "l2": unit,
    "layer_norm": lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, unbiased=False, keepdim=True) * math.sqrt(COLS)),
    "none": lambda x: x,
    "batch_norm": lambda x: (x - x.mean(0)) / (x.std(0, unbiased=False) * math.sqrt(COLS)),
}


def main():
    torch.set_num_threads(1)
    gen = torch.Generator().manual_seed(31)

    def normal():
        # The numbers that the test reads are 32-bit.
        return torch.randn(ROWS, COLS, generator=gen).double()

    phi, psi, psi_prime = normal(), normal(), normal()
    cases = []
    for alpha, beta in [(0.1, 0.0), (0.1, 1.0), (0.5, 0.3), (0.01, 1.0)]:
        a, b, c = (t.clone().requires_grad_() for t in (phi, psi, psi_prime))
        value = info_nce(a, b, c, alpha, beta)
        value.backward()
        zero = torch.zeros_like(phi)
        cases.append(dict(alpha=alpha, beta=beta, loss=value.item(),
                          grad_phi=a.grad.tolist(), grad_psi=(zero if b.grad is None else b.grad).tolist(),
                          grad_psi_prime=c.grad.tolist()))
    norms = []
    for name, norm in NORMS.items():
        q = phi.clone().requires_grad_()
        value = (norm(q) - norm(psi)).square().sum(-1).mean()
        value.backward()
        norms.append(dict(norm=name, loss=value.item(), grad=q.grad.tolist()))

    z, w = unit(phi), unit(psi)
    pairs = [(z[i] - z[j]).square().sum() for i in range(ROWS) for j in range(i)]
    centred = z - z.mean(0)
    eigenvalues = torch.linalg.eigvalsh(centred.T @ centred / ROWS).clamp_min(0)
    share = eigenvalues / eigenvalues.sum()
    share = share[share > 0]
    diagnostics = dict(
        embedding_std=(z.std(0, unbiased=False).mean() * math.sqrt(COLS)).item(),
        mean_cosine=(z * w).sum(-1).mean().item(),
        alignment=(z - w).square().sum(-1).mean().item(),
        uniformity=torch.stack(pairs).mul(-2).exp().mean().log().item(),
        effective_rank=(-(share * share.log()).sum()).exp().item(),
    )
    expected = dict(rows=ROWS, cols=COLS, phi=phi.tolist(), psi=psi.tolist(), psi_prime=psi_prime.tolist(),
                    cases=cases, norms=norms, diagnostics=diagnostics)
    Path(__file__).with_name("expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
