"""A BYOL training step of lightly's blocks on PyTorch, and the encoder's forward pass alone in
evaluation mode, on random views, channels last: the peer of `cargo xtask bench train`. One JSON line.

Needs lightly, torch and torchvision from PyPI. With glibc, PyTorch is faster with an allocator that
keeps its memory; `cargo xtask bench --write-docs --python PYTHON` sets these for it:

    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456 \\
        python tests/interop/step.py --width 64 --batch 64
"""

import argparse
import copy
import json
import os
import resource
import statistics
import time

import lightly
import torch
import torch.nn.functional as F
import torchvision
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import nn


class Basic(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.c2, self.b2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        same = stride == 1 and i == o
        self.d = nn.Identity() if same else nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
        self.r = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.r(self.b2(self.c2(self.r(self.b1(self.c1(x))))) + self.d(x))


def small_resnet18(width, channels):
    layers, i = [nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)], width
    for stage, o in enumerate([width, 2 * width, 4 * width, 8 * width]):
        for block in range(2):
            layers.append(Basic(i, o, 2 if stage and not block else 1))
            i = o
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), i


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--encoder", default="resnet18")
    words.add_argument("--stem", choices=["small", "imagenet"], default="small")
    for name, default in (("width", 64), ("channels", 3), ("size", 32), ("batch", 64), ("hidden", 4096),
                          ("proj", 256), ("steps", 5), ("threads", os.cpu_count())):
        words.add_argument(f"--{name}", type=int, default=default)
    words.add_argument("--bf16", action="store_true")
    words.add_argument("--tf32", action="store_true", help="on a GPU: f32 products with 10 bits of mantissa")
    words.add_argument("--device", default="cpu")
    a = words.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(a.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.tf32
    torch.backends.cudnn.benchmark = True
    device = torch.device(a.device)
    if a.stem == "small":
        encoder, dim = small_resnet18(a.width, a.channels)
    else:
        encoder = getattr(torchvision.models, a.encoder)()
        dim, encoder.fc = encoder.fc.in_features, nn.Identity()
    projector, predictor = BYOLProjectionHead(dim, a.hidden, a.proj), BYOLPredictionHead(a.proj, a.hidden, a.proj)
    target, target_projector = copy.deepcopy(encoder), copy.deepcopy(projector)
    deactivate_requires_grad(target)
    deactivate_requires_grad(target_projector)
    networks = nn.ModuleList([encoder, projector, predictor, target, target_projector])
    networks.to(device, memory_format=torch.channels_last)
    learned = [*encoder.parameters(), *projector.parameters(), *predictor.parameters()]
    sgd, loss_of = torch.optim.SGD(learned, lr=0.05, momentum=0.9, weight_decay=1e-4), NegativeCosineSimilarity()
    view = lambda: torch.randn(a.batch, a.channels, a.size, a.size).to(device, memory_format=torch.channels_last)
    v, w = view(), view()
    low = lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=a.bf16)

    def step():
        with low():
            p, r = predictor(projector(encoder(v))), predictor(projector(encoder(w)))
            with torch.no_grad():
                y, z = target_projector(target(v)), target_projector(target(w))
            loss = 0.5 * (loss_of(p, z) + loss_of(r, y))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        update_momentum(encoder, target, 0.996)
        update_momentum(projector, target_projector, 0.996)

    @torch.no_grad()
    def forward():
        with low():
            encoder(v)

    def median(work, times):
        for _ in range(2):
            work()
        taken = []
        for _ in range(times):
            clock = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - clock)
        return statistics.median(taken)

    seconds = median(step, a.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    encoder.eval()
    pass_seconds = median(forward, 3 * a.steps)
    print(json.dumps({"images_per_second": a.batch / seconds, "forward_images_per_second": a.batch / pass_seconds,
                      "peak_memory_bytes": peak, "threads": a.threads, "device": a.device, "torch": torch.__version__,
                      "lightly": lightly.__version__}))


if __name__ == "__main__":
    main()
