"""Accuracy for time: `pretrain --preset quick --minutes M` beside lightly's BYOL blocks on PyTorch for
as long, one after the other on the same threads and pictures, and both scored by this script:
logistic regression (standardised; the penalty of three that is best on the last tenth of the training
pictures, refitted on all) and 20 nearest neighbours (cosine, T = 0.07). Beside them the same encoders
at random initialisation, and raw pixels.

The peer is a ResNet-18 of width 16 with 3x3 stem, heads 512/128, SGD with momentum, crops of at least
0.4 of the area, flips, brightness and contrast. Its learning rate (0.2 for 128 pictures), tau (0.95),
weight decay (1e-5) and batch (64) were chosen on held-out training pictures, as ours were.

Needs lightly, numpy, pillow, pyarrow, scikit-learn and torch from PyPI. Usage:

    python tests/interop/minutes.py target/release/xtask datasets/fashion-mnist-mini [--minutes 6] [--bf16]
"""

import argparse
import copy
import io
import json
import math
import os
import subprocess
import tempfile
import time
import warnings

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from PIL import Image
from sklearn.linear_model import LogisticRegression
from step import small_resnet18
from torch import nn

warnings.filterwarnings("ignore")


def pictures(folder, split):
    """Gray pictures `[n, 1, h, w]` from 0 to 1, and labels."""
    files = sorted(f for f in os.listdir(f"{folder}/data") if f.startswith(split))
    table = pq.ParquetDataset([f"{folder}/data/{f}" for f in files]).read()
    decoded = [np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("L")) for row in table["image"].to_pylist()]
    return torch.tensor(np.stack(decoded)[:, None]).float() / 255, np.asarray(table["label"])


def view(x, mean, std):
    n = len(x)

    def draw(low, high, *shape):
        return torch.empty(n, *shape).uniform_(low, high)

    area, ratio = draw(0.4, 1), torch.exp(draw(math.log(3 / 4), math.log(4 / 3)))
    sx, sy = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    tx, ty = (1 - sx) * draw(-1, 1), (1 - sy) * draw(-1, 1)
    sx = sx * (draw(0, 1) < 0.5).float().mul(2).sub(1)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2], theta[:, 1, 1], theta[:, 1, 2] = sx, tx, sy, ty
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    v = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    on = (draw(0, 1, 1, 1, 1) < 0.8).float()
    brightness, contrast = 1 + on * draw(-0.4, 0.4, 1, 1, 1), 1 + on * draw(-0.4, 0.4, 1, 1, 1)
    v = (v * brightness).clamp(0, 1)
    m = v.mean((2, 3), keepdim=True)
    return ((((v - m) * contrast + m).clamp(0, 1) - mean) / std).to(memory_format=torch.channels_last)


@torch.no_grad()
def features(net, x, mean, std):
    net.eval()
    return torch.cat([net((some - mean) / std).float() for some in x.split(1000)]).numpy()


def peer(train, test, minutes, seed, bf16):
    """Features of the trained and of the random encoder, and what the training was."""
    torch.manual_seed(seed)
    mean, std = train.mean(), train.std()
    net, dim = small_resnet18(16, 1)
    net.to(memory_format=torch.channels_last)
    random = [features(net, x, mean, std) for x in (train, test)]
    projector, predictor = BYOLProjectionHead(dim, 512, 128), BYOLPredictionHead(128, 512, 128)
    target, target_projector = copy.deepcopy(net), copy.deepcopy(projector)
    deactivate_requires_grad(target)
    deactivate_requires_grad(target_projector)
    every = nn.ModuleList([net, projector, predictor, target, target_projector]).train()
    learned = [*net.parameters(), *projector.parameters(), *predictor.parameters()]
    sgd = torch.optim.SGD(learned, lr=0.1, momentum=0.9, weight_decay=1e-5)
    loss_of, begun, steps, batch = NegativeCosineSimilarity(), time.time(), 0, 64
    done = lambda: (time.time() - begun) / (60 * minutes)
    while done() < 1:
        for chosen in torch.randperm(len(train))[: len(train) // batch * batch].split(batch):
            if (q := done()) >= 1:
                break
            for group in sgd.param_groups:
                group["lr"] = 0.2 * batch / 128 * min(1, q / 0.05 + 1e-3) * 0.5 * (1 + math.cos(math.pi * q))
            tau = 1 - (1 - 0.95) * 0.5 * (1 + math.cos(math.pi * q))
            v, w = view(train[chosen], mean, std), view(train[chosen], mean, std)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                p, r = predictor(projector(net(v))), predictor(projector(net(w)))
                with torch.no_grad():
                    y, z = target_projector(target(v)), target_projector(target(w))
            loss = 0.5 * (loss_of(p.float(), z.float()) + loss_of(r.float(), y.float()))
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            update_momentum(net, target, tau)
            update_momentum(projector, target_projector, tau)
            steps += 1
    seconds = time.time() - begun
    every.eval()
    trained = [features(net, x, mean, std) for x in (train, test)]
    return trained, random, {"epochs": steps * batch / len(train), "images_per_second": steps * batch / seconds}


def ours(program, data, minutes, seed, where, labels, bf16):
    def run(*words):
        done = subprocess.run([program, *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr)

    def embedded(*words):
        run("embed", "--run", f"{where}/run", "--out", f"{where}/e.parquet", *words)
        table = pq.read_table(f"{where}/e.parquet")
        split = np.asarray(table["split"])
        x = np.asarray(table["embedding"].combine_chunks().flatten()).reshape(len(split), -1)
        parts = [x[split == name] for name in ("train", "test")]
        for part, name in zip(labels, ("train", "test")):
            assert (np.asarray(table["label"])[split == name] == part).all(), "pictures in another order"
        return parts

    run("pretrain", "--data", data, "--preset", "quick", "--minutes", str(minutes), "--seed", str(seed),
        "--set", f"precision={'bf16' if bf16 else 'f32'}", "--out", f"{where}/run")
    last = json.loads(open(f"{where}/run/metrics.jsonl").read().splitlines()[-1])
    about = {"epochs": last["epoch"], "images_per_second": last["images_per_second"]}
    return embedded(), embedded("--untrained"), about


def score(train, test, y, expected):
    unit = lambda a: F.normalize(torch.tensor(a))
    near, at = (unit(test) @ unit(train).T).topk(20)
    votes = torch.zeros(len(test), 10).scatter_add_(1, torch.tensor(y)[at], (near / 0.07).exp())
    knn = (votes.argmax(1).numpy() == expected).mean()
    mean, std = train.mean(0), train.std(0) + 1e-6
    train, test, k = (train - mean) / std, (test - mean) / std, len(train) * 9 // 10
    fit = lambda c, end: LogisticRegression(C=c, max_iter=200).fit(train[:end], y[:end])
    best = max((0.001, 0.01, 0.1), key=lambda c: fit(c, k).score(train[k:], y[k:]))
    return {"logistic": 100 * fit(best, len(train)).score(test, expected), "knn": 100 * knn}


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("program")
    words.add_argument("data")
    words.add_argument("--minutes", type=float, default=6)
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--threads", type=int, default=os.cpu_count())
    words.add_argument("--bf16", action="store_true", help="the arithmetic of both, where avx512_bf16 is")
    a = words.parse_args()
    torch.set_num_threads(a.threads)
    (train, y), (test, expected) = pictures(a.data, "train"), pictures(a.data, "test")
    flat = [x.flatten(1).numpy() for x in (train, test)]
    rows = {"raw pixels": [score(*flat, y, expected)]}
    for seed in a.seeds:
        with tempfile.TemporaryDirectory() as where:
            by = {"ours": ours(a.program, a.data, a.minutes, seed, where, (y, expected), a.bf16),
                  "lightly": peer(train, test, a.minutes, seed, a.bf16)}
        for name, (trained, random, about) in by.items():
            rows.setdefault(f"{name}, random", []).append(score(*random, y, expected))
            rows.setdefault(name, []).append(score(*trained, y, expected))
            print(json.dumps({"seed": seed, "who": name, **about, **rows[name][-1],
                              "random": rows[f"{name}, random"][-1]}), flush=True)
    print(f"\n{a.minutes:g} minutes, {len(train)} training pictures, mean of {len(a.seeds)} seed(s)")
    print(f"{'':<18} {'logistic':>9} {'20-NN':>9}")
    for name, scores in rows.items():
        mean = {key: np.mean([one[key] for one in scores]) for key in scores[0]}
        print(f"{name:<18} {mean['logistic']:>7.2f} % {mean['knn']:>7.2f} %")


if __name__ == "__main__":
    main()
