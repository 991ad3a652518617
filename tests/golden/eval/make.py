"""Evaluation protocols and statistics, in scikit-learn / NumPy float64.

Sources: Grill et al. 2020, linear evaluation on transfer data sets (regularised
multinomial logistic regression on frozen features); the weighted kNN vote of
Wu et al. 2018; Wilson 1927; the exact McNemar test.

logistic: min over W, b of  mean cross-entropy + (lambda / 2) * |W|_F^2, the
  intercept b unpenalised.  scikit-learn's C is 1 / (n * lambda).
knn: the k nearest by cosine similarity vote exp(similarity / T) for their class.
wilson: with p = hits / n,
  (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
mcnemar: p = min(1, 2 P(X <= min(b, c))), X ~ Binomial(b + c, 1/2); 1 if b + c = 0.

Run: python make.py   (writes expected.json beside itself)
"""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

Z = 1.959963984540054


def log_softmax(s):
    s = s - s.max(axis=1, keepdims=True)
    return s - np.log(np.exp(s).sum(axis=1, keepdims=True))


def logistic(rng):
    n, scales = 60, np.array([0.05, 1.0, 8.0, 0.3, 2.0, 30.0])
    y = np.arange(n) % 3
    x = (rng.normal(size=(n, 6)) + 0.8 * rng.normal(size=(3, 6))[y]) * scales
    solutions = []
    for lam in (1e-4, 1e-2, 1.0):
        model = LogisticRegression(C=1.0 / (n * lam), solver="newton-cholesky",
                                   tol=1e-12, max_iter=10000).fit(x, y)
        w, b = model.coef_, model.intercept_
        logp = log_softmax(x @ w.T + b)
        p = np.exp(logp)
        # At the optimum the gradient vanishes.
        residual = (p - np.eye(3)[y]) / n
        slope = max(np.abs(residual.T @ x + lam * w).max(), np.abs(residual.sum(0)).max())
        assert slope < 1e-9, slope
        top = np.sort(p, axis=1)
        assert (top[:, -1] - top[:, -2]).min() > 1e-3  # no undecided prediction
        solutions.append({
            "lambda": lam,
            "objective": float(-logp[np.arange(n), y].mean() + lam / 2 * (w**2).sum()),
            "predicted": p.argmax(1).tolist(),
            "probabilities": p.tolist(),
        })
    return {"classes": 3, "x": x.tolist(), "y": y.tolist(), "solutions": solutions}


def knn(rng):
    classes, temperature = 4, 0.07
    labels = rng.integers(0, classes, 40)
    centres = rng.normal(size=(classes, 5))
    train = centres[labels] + rng.normal(size=(40, 5))
    query = centres[rng.integers(0, classes, 15)] + rng.normal(size=(15, 5))

    def unit(a):
        return a / np.linalg.norm(a, axis=1, keepdims=True)

    similarity = unit(query) @ unit(train).T
    results = []
    for k in (1, 5, 20, 40):
        scores = np.zeros((15, classes))
        for i, row in enumerate(similarity):
            for j in np.argsort(-row)[:k]:
                scores[i, labels[j]] += np.exp(row[j] / temperature)
        top = np.sort(scores, axis=1)
        assert (top[:, -1] > 1.001 * top[:, -2]).all()
        results.append({"k": k, "predicted": scores.argmax(1).tolist(),
                        "scores": scores.tolist()})
    return {"classes": classes, "temperature": temperature, "train": train.tolist(),
            "labels": labels.tolist(), "queries": query.tolist(), "results": results}


def wilson():
    rows = []
    for hits, n in ((0, 10), (10, 10), (1, 10), (5, 10), (1, 1), (37, 50),
                    (8437, 10000), (9999, 10000), (37150, 50000)):
        p = hits / n
        half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        low = (p + Z**2 / (2 * n) - half) / (1 + Z**2 / n)
        high = (p + Z**2 / (2 * n) + half) / (1 + Z**2 / n)
        low, high = max(low, 0.0), min(high, 1.0)
        check = binomtest(hits, n).proportion_ci(0.95, method="wilson")
        assert abs(check.low - low) < 1e-12 and abs(check.high - high) < 1e-12
        rows.append({"hits": hits, "n": n, "low": low, "high": high})
    return {"z": Z, "intervals": rows}


def mcnemar():
    rows = []
    for b, c in ((0, 0), (0, 1), (5, 0), (3, 12), (12, 3), (7, 7), (7, 8),
                 (120, 180), (1500, 1500), (900, 1200)):
        n = b + c
        tail = sum(math.comb(n, i) for i in range(min(b, c) + 1))
        p = float(min(Fraction(1), Fraction(2 * tail, 2**n))) if n else 1.0
        if n:
            check = binomtest(min(b, c), n, 0.5).pvalue
            assert abs(check - p) <= 1e-9 * p
        rows.append({"b": b, "c": c, "p": p})
    return rows


def main():
    rng = np.random.default_rng(60)
    expected = {"logistic": logistic(rng), "knn": knn(rng),
                "wilson": wilson(), "mcnemar": mcnemar()}
    Path(__file__).with_name("expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
