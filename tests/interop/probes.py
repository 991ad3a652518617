"""The sweep of penalties against scikit-learn's lbfgs, neighbours against NumPy and PyTorch, and the
linear protocol against PyTorch's, on the same embeddings, one after the other on the same threads.

Needs numpy, pyarrow, scikit-learn, threadpoolctl and torch from PyPI. Usage:

    cargo xtask embed --out embeddings.parquet
    python tests/interop/probes.py target/release/xtask embeddings.parquet [SECONDS]

scikit-learn's fit of each penalty begins at the one before, at the loosest of seven tolerances that
comes within 1e-5 of the optimum; only that fit is counted. It stops after SECONDS (600), and
penalties are compared as far as it came.
"""

import json
import subprocess
import sys
import time
import warnings

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")


def run(program, *words):
    out = subprocess.run([program, *words], capture_output=True, text=True)
    if out.returncode != 0:
        raise SystemExit(out.stderr)
    return json.loads(out.stdout)


def objective(x, y, w, b, penalty):
    s = x @ w.T + b
    s -= s.max(1, keepdims=True)
    return float(-(s[np.arange(len(y)), y] - np.log(np.exp(s).sum(1))).mean() + penalty / 2 * (w**2).sum())


def sweep(program, path, x, y, threads, seconds):
    x = (x - x.mean(0)) / np.where(x.var(0) > 1e-12, x.std(0), 1)
    exact = run(program, "bench", "eval", "--embeddings", path, "--json", "--tolerance", "1e-12", "--threads", threads)
    optima = exact["sweep"]["objectives"]
    for tolerance in ("1e-8", "3e-9", "1e-9", "3e-10"):
        ours = run(program, "bench", "eval", "--embeddings", path, "--json", "--tolerance", tolerance,
                   "--threads", threads)["sweep"]
        worst = max((a - b) / b for a, b in zip(ours["objectives"], optima))
        print(f"ours: 45 penalties in {ours['seconds']:.2f} s, at most {worst:.1e} above the optimum", flush=True)
        if worst <= 1e-5:
            break
    begun, spent, before, reached = time.time(), 0.0, None, 0
    for penalty, optimum in zip(ours["penalties"], optima):
        for tol in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
            model = LogisticRegression(C=1 / (len(y) * penalty), tol=tol, max_iter=20000, warm_start=True)
            if before is not None:
                model.coef_, model.intercept_ = before[0].copy(), before[1].copy()
                model.classes_ = np.arange(before[0].shape[0])
            clock = time.time()
            model.fit(x, y)
            clock = time.time() - clock
            if objective(x, y, model.coef_, model.intercept_, penalty) <= optimum * (1 + 1e-5):
                break
        spent, before, reached = spent + clock, (model.coef_, model.intercept_), reached + 1
        if time.time() - begun > seconds:
            break
    print(f"scikit-learn's lbfgs: {reached} penalties in {spent:.2f} s; ratio {spent / ours['seconds']:.1f}"
          + ("" if reached == 45 else " or more, since it was broken off"))


def neighbours(program, path, train, test, threads):
    ours = run(program, "bench", "eval", "--embeddings", path, "--json", "--tolerance", "1e-1", "--threads", threads)
    ours, k = ours["knn"], ours["knn"]["k"]
    queries = train if len(test) == 0 else test
    unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)
    similar = unit(queries[:200].astype(np.float64)) @ unit(train.astype(np.float64)).T
    if len(test) == 0:
        similar[np.arange(200), np.arange(200)] = -2
    expected = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    same = sum(a == b.tolist() for a, b in zip(ours["neighbors"], expected))
    assert same == len(ours["neighbors"]), f"{same} of {len(ours['neighbors'])} rows have NumPy's neighbours"
    keys, asked = torch.tensor(unit(train)), torch.tensor(unit(queries))
    best = float("inf")
    for _ in range(3):
        clock = time.time()
        for some in asked.split(1024):
            (some @ keys.T).topk(k, dim=1)
        best = min(best, time.time() - clock)
    print(f"neighbours of {len(ours['neighbors'])} rows are NumPy's; all {len(queries)}: ours {ours['seconds']:.2f} s, "
          f"PyTorch's product and topk {best:.2f} s")


def protocol(program, path, train, y, test, y_test):
    """The paper's linear evaluation without augmentation, three seeds each."""
    ours = [run(program, "linear-eval", "--embeddings", path, "--protocol", "paper", "--seed", str(s), "--json")
            for s in range(3)]
    rates, theirs = ours[0]["details"]["choice"]["rates"], []
    x, y, z = torch.tensor(train), torch.tensor(y), torch.tensor(test)
    kept = torch.ones(len(y), dtype=torch.bool)
    kept[torch.tensor(np.argsort(y.numpy(), kind="stable")[9::10].copy())] = False
    for seed in range(3):
        torch.manual_seed(seed)
        scores = []
        for rate in rates:
            heads = []
            for rows in (torch.nonzero(kept)[:, 0], torch.arange(len(y))):
                head = torch.nn.Linear(x.shape[1], int(y.max()) + 1)
                sgd = torch.optim.SGD(head.parameters(), lr=rate * 4, momentum=0.9, nesterov=True)
                steps = 80 * -(-len(rows) // 1024)
                cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, steps)
                for _ in range(80):
                    for batch in rows[torch.randperm(len(rows))].split(1024):
                        sgd.zero_grad()
                        torch.nn.functional.cross_entropy(head(x[batch]), y[batch]).backward()
                        sgd.step()
                        cosine.step()
                heads.append(head)
            chosen = (heads[0](x[~kept]).argmax(1) == y[~kept]).float().mean().item()
            scores.append((chosen, (heads[1](z).argmax(1).numpy() == y_test).mean()))
        theirs.append(max(scores, key=lambda s: s[0])[1])
    a, b = np.mean([o["top1"] for o in ours]), np.mean(theirs)
    print(f"linear protocol, mean of three seeds: ours {100 * a:.2f} %, PyTorch's {100 * b:.2f} %")
    assert abs(a - b) <= 0.003, "more than 0.3 points apart"


def main():
    program, path = sys.argv[1:3]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 600
    table = pq.read_table(path)
    split = np.array([s or "" for s in table["split"].to_pylist()])
    x, y = np.stack(table["embedding"].to_numpy()).astype(np.float32), np.array(table["label"].to_pylist())
    train, test = x[split != "test"], x[split == "test"]
    threads = str(torch.get_num_threads())
    print(f"{len(train)} x {x.shape[1]}, {len(test)} test rows, {threads} threads")
    neighbours(program, path, train, test, threads)
    if len(test):
        protocol(program, path, train, y[split != "test"], test, y[split == "test"])
    sweep(program, path, train.astype(np.float64), y[split != "test"], threads, seconds)


if __name__ == "__main__":
    main()
