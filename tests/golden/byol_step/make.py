"""Ten complete BYOL training steps of a tiny network, in PyTorch.

Source: Grill et al. 2020, section 3.1 (Eq. 2) and 3.3, and DeepMind's
byol/byol_experiment.py and byol/utils/optimizers.py.  Computed in float64 and
stored as float32; the same steps in float32 are compared and the gap printed.

Network: a ResNet-18 of post-activation basic blocks with 4, 8, 16, 32 channels
(names as in torchvision), 1 input channel, a 3x3 stride-1 stem without max
pooling, global average pooling; projector 32-16-8 and predictor 8-16-8, each
Linear(bias), BatchNorm, ReLU, Linear(no bias).  BatchNorm: eps 1e-5, running
statistics with momentum 0.1 and the unbiased variance.

A step: the online network sees v, then v' (two passes in training mode); the
target (encoder and projector) sees v, then v' likewise, without gradient;
  loss = mean(2 - 2 cos(q(v), z'(v'))) + mean(2 - 2 cos(q(v'), z'(v)))
then LARS on the online parameters (see ../lars), then for each target parameter
  target = tau * target + (1 - tau) * online        (parameters only, no buffers)

Run: python make.py   (writes inputs.safetensors, expected.safetensors)
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

LRS = [0.5, 0.4, 0.3, 0.25, 0.2, 0.16, 0.12, 0.08, 0.05, 0.02]
TAUS = [0.9, 0.95, 0.99, 0.99, 0.992, 0.994, 0.996, 0.998, 0.999, 1.0]
LAST = len(LRS) - 1
TRUST, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 1e-2
NORM_SCALE = 8.0
# Of 180 seeds, the one whose results change least under 5e-7 relative noise on
# the inputs; with many others the third step amplifies it far more.
SEED = 90


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(
                nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Encoder(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        cin = width
        for i in range(4):
            cout, stride = width << i, 1 if i == 0 else 2
            stage = nn.Sequential(BasicBlock(cin, cout, stride), BasicBlock(cout, cout, 1))
            setattr(self, f"layer{i + 1}", stage)
            cin = cout

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean(dim=(2, 3))


class Hidden(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.linear = nn.Linear(cin, cout)
        self.norm = nn.BatchNorm1d(cout)

    def forward(self, x):
        return F.relu(self.norm(self.linear(x)))


class Head(nn.Module):
    def __init__(self, cin, hidden, cout):
        super().__init__()
        self.hidden = nn.ModuleList([Hidden(cin, hidden)])
        self.output = nn.Linear(hidden, cout, bias=False)

    def forward(self, x):
        return self.output(self.hidden[0](x))


class Network(nn.Module):
    def __init__(self, with_predictor):
        super().__init__()
        self.encoder = Encoder()
        self.projector = Head(32, 16, 8)
        if with_predictor:
            self.predictor = Head(8, 16, 8)

    def forward(self, x):
        z = self.projector(self.encoder(x))
        return self.predictor(z) if hasattr(self, "predictor") else z


def role(name):
    """"norm" for BatchNorm parameters, else "bias" or "weight"."""
    owner = name.split(".")[-2]
    if owner.startswith("bn") or owner == "norm" or "downsample.1." in name:
        return "norm"
    return name.split(".")[-1]


def randomise(net, gen):
    """Random values for every parameter and buffer, exact in float32.

    Norm parameters are several times their usual size: the network computes
    the same function, but a step changes them relatively little, so that the
    steps do not amplify rounding errors.
    """
    for name, t in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(t.shape, generator=gen)
        spread = 0.5 + torch.rand(t.shape, generator=gen)
        if name.endswith("running_var"):
            value = spread
        elif role(name) == "norm" and name.endswith("weight"):
            value = NORM_SCALE * spread
        elif role(name) == "norm" and name.endswith("bias"):
            value = NORM_SCALE * 0.2 * noise
        elif name.endswith("weight"):
            value = noise * (2.0 / t[0].numel()) ** 0.5
        else:
            value = 0.2 * noise
        t.copy_(value)


def tensors(net):
    return {n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}


def loss_fn(q, z):
    return (2.0 - 2.0 * (F.normalize(q, dim=-1) * F.normalize(z, dim=-1)).sum(-1)).mean()


def train(inputs, dtype):
    """Runs the steps and returns the expected tensors."""
    online, target = Network(True).to(dtype), Network(False).to(dtype)
    for prefix, net in (("online.", online), ("target.", target)):
        for name, t in tensors(net).items():
            t.copy_(inputs[prefix + name])
    momentum = {n: torch.zeros_like(p) for n, p in online.named_parameters()}
    out = {}

    for step, (lr, tau) in enumerate(zip(LRS, TAUS)):
        v, v_prime = (inputs[f"step{step}.{k}"].to(dtype) for k in ("view", "view_prime"))
        q, q_prime = online(v), online(v_prime)
        with torch.no_grad():
            z, z_prime = target(v), target(v_prime)
        loss = loss_fn(q, z_prime) + loss_fn(q_prime, z)
        out[f"step{step}.loss"] = loss.detach().reshape(1)
        online.zero_grad()
        loss.backward()

        with torch.no_grad():
            for name, p in online.named_parameters():
                if step == 0:
                    out[f"step0.grad.online.{name}"] = p.grad.clone()
                d = p.grad
                if role(name) == "weight":
                    d = d + WEIGHT_DECAY * p
                    if p.norm() > 0 and d.norm() > 0:
                        d = d * (TRUST * p.norm() / d.norm())
                momentum[name] = MOMENTUM * momentum[name] + d
                p -= lr * momentum[name]
            fresh = dict(online.named_parameters())
            for name, p in target.named_parameters():
                p.copy_(tau * p + (1.0 - tau) * fresh[name])

        for prefix, net in (("online.", online), ("target.", target)):
            for name, t in tensors(net).items():
                if step in (0, LAST):
                    out[f"step{step}.{prefix}{name}"] = t.clone()

    online.eval()
    with torch.no_grad():
        out["eval.features"] = online.encoder(inputs["step0.view"].to(dtype))
    return out


def main():
    torch.set_num_threads(1)
    gen = torch.Generator().manual_seed(SEED)
    inputs = {}
    for prefix, with_predictor in (("online.", True), ("target.", False)):
        net = Network(with_predictor)
        randomise(net, gen)
        inputs.update({prefix + n: t.clone() for n, t in tensors(net).items()})
    for step in range(len(LRS)):
        for view in ("view", "view_prime"):
            inputs[f"step{step}.{view}"] = torch.randn(6, 1, 12, 12, generator=gen)

    expected = train(inputs, torch.float64)
    single = train(inputs, torch.float32)
    # |a - b| / |b| of whole tensors: how far rounding alone goes, and the most
    # accepted here (the test allows 1e-4 after the first step, 1e-3 after the last).
    for kind, limit in (("step0.", 3e-5), (f"step{LAST}.", 3e-4), ("eval.", 3e-4)):
        gap = max(((single[n].double() - t).norm() / t.norm()).item()
                  for n, t in expected.items() if n.startswith(kind) and "grad" not in n)
        print(f"{kind} float32 differs from float64 by at most {gap:.1e}")
        assert gap < limit

    here = Path(__file__).parent
    save_file(inputs, here / "inputs.safetensors")
    save_file({n: t.float().contiguous() for n, t in expected.items()},
              here / "expected.safetensors")


if __name__ == "__main__":
    main()
