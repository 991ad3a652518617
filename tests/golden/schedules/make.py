"""Learning-rate and target-decay schedules of BYOL, in NumPy float64.

Source: Grill et al. 2020, section 3.3, and DeepMind's byol/utils/schedules.py:
  peak   = base_lr * batch / 256
  lr(k)  = peak * k / warm                                     for k < warm
         = peak * (1 + cos(pi * (k - warm) / (K - warm))) / 2  otherwise
  tau(k) = 1 - (1 - tau_base) * (1 + cos(pi * k / K)) / 2

Run: python make.py   (writes expected.json beside itself)
"""

import json
from pathlib import Path

import numpy as np

# name, base_lr, batch, steps K, warmup_steps, tau_base
PLANS = [
    ("paper-1000", 0.2, 4096, 312784, 3127, 0.996),
    ("small-batch", 0.4, 512, 2502000, 25020, 0.9995),
    ("short", 2.0, 64, 500, 25, 0.95),
    ("no-warmup", 0.3, 256, 100, 0, 0.99),
]


def half_cosine(x):
    return 0.5 * (1.0 + np.cos(np.pi * np.float64(x)))


def lr(k, base_lr, batch, steps, warm):
    peak = np.float64(base_lr) * batch / 256.0
    if k < warm:
        return peak * k / warm
    return peak * half_cosine((k - warm) / (steps - warm))


def tau(k, tau_base, steps):
    return 1.0 - (1.0 - np.float64(tau_base)) * half_cosine(k / steps)


def main():
    plans = []
    for name, base_lr, batch, steps, warm, tau_base in PLANS:
        ks = {0, 1, warm // 2, warm - 1, warm, warm + 1}
        ks |= {steps // 4, steps // 2, 3 * steps // 4, steps - 1, steps}
        plans.append({
            "name": name, "base_lr": base_lr, "batch": batch, "steps": steps,
            "warmup_steps": warm, "tau_base": tau_base,
            "values": [{"step": k,
                        "lr": float(lr(k, base_lr, batch, steps, warm)),
                        "tau": float(tau(k, tau_base, steps))}
                       for k in sorted(ks) if k >= 0],
        })
    out = Path(__file__).with_name("expected.json")
    out.write_text(json.dumps({"plans": plans}, indent=1) + "\n")


if __name__ == "__main__":
    main()
