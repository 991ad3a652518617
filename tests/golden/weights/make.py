"""Files that others write, small: a ResNet-18 of two channels, seeded, its running
statistics not trivial, as PyTorch saves it (zip, legacy, inside a Lightning checkpoint of
lightly's layout), its features in evaluation mode; and a pickle that would run a command.

Run: python make.py
"""

import importlib.util
import os
import pickle
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("networks", HERE.parent / "networks" / "make.py")
networks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(networks)
ResNet, fill, tensor = networks.ResNet, networks.fill, networks.tensor


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def main():
    net = fill(ResNet((2, 2, 2, 2), False, 2, 1, "small", 1)).eval()
    x = tensor("images", (3, 1, 16, 16))
    with torch.no_grad():
        features = net(x)
    net = net.float()
    state = net.state_dict()
    torch.save(state, HERE / "zip.pth")
    torch.save({"model": state}, HERE / "legacy.pth", _use_new_zipfile_serialization=False)
    children = nn.Sequential(net.conv1, net.bn1, nn.ReLU(), nn.Identity(), net.layer1, net.layer2, net.layer3,
                             net.layer4, nn.AdaptiveAvgPool2d(1))
    model = nn.Module()
    model.backbone, model.projection_head = children, nn.Sequential(nn.Linear(16, 4))
    other = {k.replace("backbone", "backbone_momentum"): v + 1 if v.is_floating_point() else v
             for k, v in model.state_dict().items() if k.startswith("backbone")}
    torch.save({"epoch": 1, "state_dict": {**model.state_dict(), **other},
                "hyper_parameters": {"lr": 0.2}}, HERE / "lightly.ckpt")
    torch.save({**state, "note": Evil()}, HERE / "calls.pth")
    (HERE / "calls.pkl").write_bytes(pickle.dumps({"conv1.weight": Evil()}, protocol=4))
    save_file({"features": features.float().contiguous()}, HERE / "expected.safetensors")
    (HERE / "expected.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
