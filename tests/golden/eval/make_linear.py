"""Softmax regression by PyTorch's SGD with Nesterov momentum, from zero, on whole batches.

The first case of probes.json; learning rate * n / 256, falling by half a cosine, one step an
epoch. With every tenth row left out (the one that chooses) and with all rows.

Run: python make_linear.py   (writes linear.json beside itself)
"""

import json
import math
from pathlib import Path

import numpy as np
import torch

EPOCHS, RATES = 25, (0.4, 0.05)


def main():
    here = Path(__file__)
    case = json.loads(here.with_name("probes.json").read_text())[0]
    x = torch.tensor(np.array(case["grid"]) / 64, dtype=torch.float64)
    y = torch.tensor(case["y"])
    kept = torch.tensor([i % 10 != 9 for i in range(len(y))])
    runs = []
    for rate in RATES:
        for every in (False, True):
            rows = torch.ones_like(kept) if every else kept
            head = torch.nn.Linear(x.shape[1], case["classes"], dtype=torch.float64)
            torch.nn.init.zeros_(head.weight)
            torch.nn.init.zeros_(head.bias)
            sgd = torch.optim.SGD(head.parameters(), lr=1.0, momentum=0.9, nesterov=True)
            for epoch in range(EPOCHS):
                fall = 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
                sgd.param_groups[0]["lr"] = rate * fall * len(y) / 256
                sgd.zero_grad()
                torch.nn.functional.cross_entropy(head(x[rows]), y[rows]).backward()
                sgd.step()
            with torch.no_grad():
                logits = head(x[:20])
            runs.append({"rate": rate, "all": every, "logits": logits.flatten().tolist()})
    here.with_name("linear.json").write_text(json.dumps({"epochs": EPOCHS, "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
