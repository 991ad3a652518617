"""Optima of multinomial logistic regression, in scikit-learn's float64.

min over W, b of  mean cross-entropy + (penalty / 2) * |W|_F^2, b free: scikit-learn's C is
1 / (n * penalty). Solver newton-cholesky, tolerance 1e-10; the slope at its end is checked.
Features are whole numbers over 64, times a power of two a column, so that they are exact in
float32: well scaled, badly scaled (2^-10 to 2^10), and more of them than rows.

Run: python make_probes.py   (writes probes.json beside itself)
"""

import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression


def log_softmax(s):
    s = s - s.max(axis=1, keepdims=True)
    return s - np.log(np.exp(s).sum(axis=1, keepdims=True))


def case(rng, name, n, d, classes, powers, penalties):
    y = np.arange(n) % classes
    grid = np.round(64 * (rng.normal(size=(n, d)) + 0.7 * rng.normal(size=(classes, d))[y])).astype(int)
    x = grid / 64 * 2.0 ** np.array(powers)
    solutions = []
    for penalty in penalties:
        model = LogisticRegression(C=1 / (n * penalty), solver="newton-cholesky", tol=1e-10,
                                   max_iter=100000).fit(x, y)
        w, b = model.coef_, model.intercept_
        logp = log_softmax(x @ w.T + b)
        p = np.exp(logp)
        residual = (p - np.eye(classes)[y]) / n
        slope = np.abs(residual.T @ x + penalty * w).max()
        top = np.sort(p, axis=1)
        solutions.append({
            "penalty": penalty,
            "objective": float(-logp[np.arange(n), y].mean() + penalty / 2 * (w**2).sum()),
            "predicted": p.argmax(1).tolist(),
            # Rows that are undecided to a thousandth may go either way.
            "decided": (top[:, -1] - top[:, -2] > 1e-3).astype(int).tolist(),
        })
        print(name, penalty, solutions[-1]["objective"], "slope", slope)
    return {"name": name, "classes": classes, "powers": list(powers), "grid": grid.tolist(),
            "y": y.tolist(), "solutions": solutions}


def main():
    rng = np.random.default_rng(61)
    penalties = [1e2, 1.0, 1e-2, 1e-4, 1e-6]
    cases = [
        case(rng, "well scaled", 150, 8, 4, [0] * 8, penalties),
        case(rng, "badly scaled", 120, 9, 3, [-10, 10, 0, 5, -5, 8, -8, 2, -2], penalties),
        case(rng, "more features than rows", 40, 60, 5, [0] * 60, penalties),
        case(rng, "more features than rows, badly scaled", 24, 30, 3, [i % 13 - 6 for i in range(30)],
             penalties[1:4]),
    ]
    Path(__file__).with_name("probes.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
