"""Fine-tuning in PyTorch: an encoder (a linear map, batch normalisation, ReLU) and a classifier that
begins at 0 learn from all pictures at once by SGD with Nesterov momentum; the rate falls by half a
cosine, one step an epoch. Pictures are 4x4, grey, their values / 255.

Run: python make_finetune.py   (writes finetune.json beside itself)
"""

import json
import math
from pathlib import Path

import numpy as np
import torch

EPOCHS, RATE, PICTURES, CLASSES, UNITS = 12, 0.2, 24, 3, 6


def main():
    rng = np.random.default_rng(0)
    labels = np.arange(PICTURES) % CLASSES
    pictures = (rng.integers(0, 160, (PICTURES, 16)) + 30 * labels[:, None]).astype(np.uint8)
    grid = rng.integers(-32, 33, (UNITS, 16))
    x = torch.tensor(pictures / 255, dtype=torch.float64)
    y = torch.tensor(labels)
    net = torch.nn.Sequential(
        torch.nn.Linear(16, UNITS), torch.nn.BatchNorm1d(UNITS), torch.nn.ReLU(), torch.nn.Linear(UNITS, CLASSES)
    ).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(grid / 64))
        for zero in (net[0].bias, net[3].weight, net[3].bias):
            zero.zero_()
    sgd = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, nesterov=True)
    for epoch in range(EPOCHS):
        sgd.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        sgd.step()
    net.eval()
    with torch.no_grad():
        logits = net(x)
    golden = {
        "epochs": EPOCHS,
        "rate": RATE,
        "classes": CLASSES,
        "pictures": pictures.tolist(),
        "labels": labels.tolist(),
        "grid": grid.tolist(),
        "encoder_weight": net[0].weight.flatten().tolist(),
        "logits": logits.flatten().tolist(),
    }
    Path(__file__).with_name("finetune.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
