"""Blocks, stems, heads and whole ResNets in PyTorch, float64 stored as float32.

Source: He et al. 2016a (version 1, stride in the 3x3: torchvision's networks) and
2016b (version 2: normalisation, ReLU, convolution; a projection in the first block of
each stage, as Haiku's ResNet with `resnet_v2`, which DeepMind's BYOL uses); DeepMind's
byol/utils/networks.py (heads). Nothing here is initialised by PyTorch: every weight, input
and upstream gradient comes from `numbers`, a hash of its name, which the tests compute
too, so that networks of full size need no file of weights.

`layers.safetensors`: for every block, stem and head in training mode its output, the
gradients of sum(output * g) for input and parameters, and the running statistics.
`features.safetensors`: features of torchvision's own resnet18 and resnet50, of a ResNet-18
of twice the width, and of version 2 networks, in evaluation mode with running statistics
that are not trivial.
`bf16.safetensors`: a ResNet-18 in training mode whose convolutions, and both their gradients,
multiply values rounded to bf16 (of 3x3 windows of stride 1 with 32 channels or more: the values
transformed for minimal filtering); sums and all else are as above.

Run: python make.py
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torchvision import models

torch.set_default_dtype(torch.float64)
torch.set_num_threads(2)


def numbers(name, n):
    """n floats in [-1, 1), exact in float32: murmur's finaliser over FNV-1a of the name."""
    seed = 2166136261
    for byte in name.encode():
        seed = ((seed ^ byte) * 16777619) % 2**32
    h = (np.arange(n, dtype=np.uint32) * np.uint32(2654435769)) ^ np.uint32(seed)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return (h >> np.uint32(8)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def tensor(name, shape):
    return torch.from_numpy(numbers(name, int(np.prod(shape))).reshape(shape)).double()


def fill(net):
    """Every weight by its name; kernels by their fan-in, so that values keep their size."""
    with torch.no_grad():
        for name, t in net.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            u = numbers(name, t.numel()).reshape(t.shape)
            one = np.float32
            if t.dim() > 1:
                u = u * one(np.sqrt(6.0 / t[0].numel()))
            elif name.endswith("running_var"):
                u = one(1) + one(0.5) * u
            elif name.endswith("running_mean") or name.endswith("bias"):
                u = one(0.125) * u
            else:
                u = one(1) + one(0.25) * u
            t.copy_(torch.from_numpy(u))
    return net


class Block(nn.Module):
    def __init__(self, cin, width, stride, bottleneck, version, first=True):
        super().__init__()
        out = width * (4 if bottleneck else 1)
        if bottleneck:
            shapes = [(cin, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
        else:
            shapes = [(cin, width, 3, stride), (width, width, 3, 1)]
        self.n, self.version = len(shapes), version
        for i, (a, b, k, s) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(a, b, k, s, k // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(b if version == 1 else a))
        self.downsample = None
        if stride != 1 or cin != out or (version == 2 and first):
            layers = [nn.Conv2d(cin, out, 1, stride, bias=False)]
            if version == 1:
                layers.append(nn.BatchNorm2d(out))
            self.downsample = nn.Sequential(*layers)

    def forward(self, x):
        conv = lambda i, x: getattr(self, f"conv{i}")(x)
        bn = lambda i, x: getattr(self, f"bn{i}")(x)
        if self.version == 1:
            y = x
            for i in range(1, self.n + 1):
                y = bn(i, conv(i, y))
                y = F.relu(y) if i < self.n else y
            return F.relu(y + (x if self.downsample is None else self.downsample(x)))
        y, shortcut = x, x
        for i in range(1, self.n + 1):
            y = F.relu(bn(i, y))
            if i == 1 and self.downsample is not None:
                shortcut = self.downsample(y)
            y = conv(i, y)
        return y + shortcut


class ResNet(nn.Module):
    """Any width, channels, stem and version, under torchvision's names."""

    def __init__(self, blocks, bottleneck, width, channels, stem, version):
        super().__init__()
        kernel, stride = {"imagenet": (7, 2), "small": (3, 1), "small_stride2": (3, 2)}[stem]
        self.conv1 = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
        if version == 1:
            self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        cin = width
        for i, n in enumerate(blocks):
            stage = []
            for j in range(n):
                stage.append(Block(cin, width << i, 2 if i and not j else 1, bottleneck, version, j == 0))
                cin = (width << i) * (4 if bottleneck else 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        if version == 2:
            self.norm = nn.BatchNorm2d(cin)

    def forward(self, x):
        x = self.conv1(x)
        if hasattr(self, "bn1"):
            x = F.relu(self.bn1(x))
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.pool(x)))))
        if hasattr(self, "norm"):
            x = F.relu(self.norm(x))
        return x.mean(dim=(2, 3))


class Hidden(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.linear, self.norm = nn.Linear(cin, cout), nn.BatchNorm1d(cout)

    def forward(self, x):
        return F.relu(self.norm(self.linear(x)))


class Head(nn.Module):
    def __init__(self, layers, cin, hidden, cout):
        super().__init__()
        self.hidden = nn.ModuleList(Hidden(cin if i == 0 else hidden, hidden) for i in range(layers - 1))
        self.output = nn.Linear(cin if layers == 1 else hidden, cout, bias=False)

    def forward(self, x):
        for layer in self.hidden:
            x = layer(x)
        return self.output(x)


def near(x):
    return x.to(torch.bfloat16).double()


# F(2x2, 3x3): pixels, window and results are transformed from both sides.
PIXELS = torch.tensor([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]).double()
WINDOW = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]).double()
RESULTS = torch.tensor([[1, 0], [1, 1], [1, -1], [0, -1]]).double()


def both(m, values):
    return m @ values @ m.T


def tiles(images, side, before, count):
    """Squares of `side` pixels, two apart, `before` pixels of zeros first: `[n, c, rows, cols, side, side]`."""
    after = [2 * (n - 1) + side - before - size for n, size in zip(count, images.shape[2:])]
    images = F.pad(images, (before, max(after[1], 0), before, max(after[0], 0)))
    some = images.unfold(2, side, 2).unfold(3, side, 2)
    return some[:, :, : count[0], : count[1]]


def filtered(x, weight, padding):
    """A correlation of stride 1 by minimal filtering, of transformed and then rounded factors."""
    size = [n + 2 * padding - 2 for n in x.shape[2:]]
    count = [(n + 1) // 2 for n in size]
    pixels, window = near(both(PIXELS, tiles(x, 4, padding, count))), near(both(WINDOW, weight))
    y = both(RESULTS.T, torch.einsum("nctuab,ocab->notuab", pixels, window))
    y = y.permute(0, 1, 2, 4, 3, 5).reshape(len(x), len(weight), 2 * count[0], 2 * count[1])
    return y[:, :, : size[0], : size[1]]


def is_filtered(weight, stride, size):
    return weight.shape[2:] == (3, 3) and stride == (1, 1) and min(weight.shape[:2]) >= 32 and min(size) > 1


class Rounded(torch.autograd.Function):
    """A convolution of bf16 values."""

    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.how = stride, padding
        y = F.conv2d(near(x), near(weight), None, stride, padding)
        return filtered(x, weight, padding[0]) if is_filtered(weight, stride, y.shape[2:]) else y

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        stride, padding = ctx.how
        if is_filtered(weight, stride, g.shape[2:]):
            dx = filtered(g, weight.flip(2, 3).transpose(0, 1), 2 - padding[0])
            count = [(n + 1) // 2 for n in g.shape[2:]]
            pixels = near(both(PIXELS, tiles(x, 4, padding[0], count)))
            gradients = near(both(RESULTS, tiles(g, 2, 0, count)))
            dw = both(WINDOW.T, torch.einsum("nctuab,notuab->ocab", pixels, gradients))
            return dx, dw, None, None
        dx = torch.nn.grad.conv2d_input(x.shape, near(weight), near(g), *ctx.how)
        return dx, torch.nn.grad.conv2d_weight(near(x), weight.shape, near(g), *ctx.how), None, None


class RoundedConv2d(nn.Conv2d):
    def forward(self, x):
        return Rounded.apply(x, self.weight, self.stride, self.padding)


def in_bf16(net):
    for module in net.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = RoundedConv2d
    return net


def record(case, net, shape, out):
    net = fill(net).train()
    x = tensor(f"{case}.input", shape).requires_grad_()
    y = net(x)
    (y * tensor(f"{case}.upstream", tuple(y.shape))).sum().backward()
    out[f"{case}.output"] = y
    out[f"{case}.grad.input"] = x.grad
    for name, p in net.named_parameters():
        out[f"{case}.grad.{name}"] = p.grad
    for name, b in net.named_buffers():
        if "num_batches" not in name:
            out[f"{case}.{name}"] = b


def main():
    layers = {}
    for version in (1, 2):
        for bottleneck in (False, True):
            kind = "bottleneck" if bottleneck else "basic"
            same = 12 if bottleneck else 3
            for what, cin, stride, first in (
                ("same", same, 1, False), ("wider", 5, 1, True), ("strided", same, 2, True),
                ("opening", same, 1, True),
            ):
                net = Block(cin, 3, stride, bottleneck, version, first)
                record(f"v{version}.{kind}.{what}", net, (4, cin, 7, 7), layers)
    for n in (1, 2, 3):
        record(f"head{n}", Head(n, 6, 5, 4), (7, 6), layers)
    for stem in ("imagenet", "small", "small_stride2"):
        for version in (1, 2):
            net = ResNet((2, 2, 2, 2), False, 2, 2, stem, version)
            record(f"net.{stem}.v{version}", net, (6, 2, 33, 33), layers)

    low = {}
    record("bf16", in_bf16(ResNet((2, 2, 2, 2), False, 4, 3, "small", 1)), (8, 3, 17, 16), low)

    features = {}
    x = tensor("images", (2, 3, 64, 64))
    nets = {
        "resnet18": models.resnet18(),
        "resnet50": models.resnet50(),
        "resnet18_2x": ResNet((2, 2, 2, 2), False, 128, 3, "imagenet", 1),
        "resnet50_w16_small": ResNet((3, 4, 6, 3), True, 16, 3, "small", 1),
        "resnet18_v2": ResNet((2, 2, 2, 2), False, 64, 3, "imagenet", 2),
        "resnet50_w16_small_v2": ResNet((3, 4, 6, 3), True, 16, 3, "small", 2),
    }
    for name, net in nets.items():
        if hasattr(net, "fc"):
            net.fc = nn.Identity()
        with torch.no_grad():
            features[name] = fill(net).eval()(x)
        print(name, tuple(features[name].shape), float(features[name].abs().max()))

    here = Path(__file__).parent
    for file, values in (("layers", layers), ("bf16", low), ("features", features)):
        values = {k: v.detach().float().contiguous() for k, v in values.items()}
        save_file(values, here / f"{file}.safetensors")
        (here / f"{file}.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
