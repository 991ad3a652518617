"""Weights both ways with PyTorch, torchvision, timm, byol-pytorch, lightly and onnxruntime.

For each network: seeded weights with running statistics that are not trivial, saved
bare and inside the checkpoints of others, imported and exported again by `export`.
Checked: the bits of every tensor (`load_state_dict(strict=True)` but for `fc`), and the
features in evaluation mode through the exported ONNX model (1e-4 relative).

Needs, from PyPI: torch torchvision timm byol-pytorch lightly onnx onnxruntime safetensors.
Run: python tests/interop/weights.py target/release/xtask
"""

import importlib.util
import json
import pathlib
import pickle
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torchvision import models

PROGRAM = pathlib.Path(sys.argv[1]).resolve()
PICTURES = 4
HERE = pathlib.Path(__file__).resolve().parent


def program(*words):
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def seeded(net, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif name.endswith("running_mean"):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
            elif tensor.dtype == torch.float32 and tensor.dim() == 1:
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return net.eval()


def features(net, images):
    fc, net.fc = net.fc, torch.nn.Identity()
    with torch.no_grad():
        y = net(images)
    net.fc = fc
    return y.numpy()


def check(what, net, file, folder, images, *flags):
    """Imports `file`, exports it twice, and compares with `net`."""
    out, graph = folder / "out.safetensors", folder / "out.onnx"
    for path, kind in ((out, "safetensors"), (graph, "onnx")):
        code, _, err = program("export", "--weights", file, "--format", kind, "--out", path, *flags)
        assert code == 0, f"{what}: {err}"
    exported = load_file(out)
    wanted = {k: v for k, v in net.state_dict().items() if not k.startswith("fc.") and "num_batches" not in k}
    assert set(exported) == set(wanted), what
    for name, tensor in wanted.items():
        assert torch.equal(exported[name].view(torch.int32), tensor.contiguous().view(torch.int32)), (what, name)
    onnx.checker.check_model(str(graph), full_check=True)
    session = onnxruntime.InferenceSession(str(graph))
    y = session.run(None, {"images": images.numpy()})[0]
    expected = features(net, images)
    gap = np.abs(y - expected).max() / np.abs(expected).max()
    assert gap < 1e-4, (what, gap)
    operators = sorted({node.op_type for node in onnx.load(str(graph)).graph.node})
    print(f"{what}: {len(exported)} tensors bit-identical, ONNX features within {gap:.1e} ({len(operators)} operators)")


def main():
    torch.manual_seed(0)
    images = torch.randn(PICTURES, 3, 96, 96)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for depth in (18, 34, 50, 101):
            net = seeded(getattr(models, f"resnet{depth}")(), depth)
            path = folder / f"resnet{depth}.pth"
            torch.save(net.state_dict(), path)
            check(f"torchvision resnet{depth}", net, path, folder, images)
            loaded = getattr(models, f"resnet{depth}")()
            missing, extra = loaded.load_state_dict(load_file(folder / "out.safetensors"), strict=False)
            # All that is missing is the classifier; counters are made by PyTorch.
            assert set(missing) <= {k for k in loaded.state_dict() if k.startswith("fc.") or "num_batches" in k}
            assert not extra
            whole = {**net.state_dict(), **load_file(folder / "out.safetensors")}
            loaded.load_state_dict(whole, strict=True)

        net = seeded(models.resnet18(), 7)
        state = net.state_dict()
        wrapped = {
            "safetensors": lambda p: save_file(state, p),
            "legacy format": lambda p: torch.save(state, p, _use_new_zipfile_serialization=False),
            "whole module": lambda p: torch.save(net, p),
            "state_dict + module.": lambda p: torch.save(
                {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, p),
            "backbone. with heads and momentum": lambda p: torch.save(
                {"state_dict": {**{f"backbone.{k}": v for k, v in state.items()},
                                **{f"momentum_backbone.{k}": v + 1 for k, v in state.items()},
                                "projector.0.weight": torch.zeros(2, 2)},
                 "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(3)}}}],
                 "hyper_parameters": {"lr": 0.2}}, p),
            "MoCo encoder_q": lambda p: torch.save(
                {"state_dict": {**{f"module.encoder_q.{k}": v for k, v in state.items()},
                                **{f"module.encoder_k.{k}": v + 1 for k, v in state.items()}}}, p),
        }
        for what, save in wrapped.items():
            path = folder / ("w.safetensors" if what == "safetensors" else "w.pth")
            save(path)
            check(f"resnet18, {what}", net, path, folder, images)

        import lightly.models.modules.heads as heads

        children = torch.nn.Sequential(*list(net.children())[:-1])
        lightly_model = torch.nn.Module()
        lightly_model.backbone = children
        lightly_model.projection_head = heads.BYOLProjectionHead(512, 64, 16)
        lightly_model.backbone_momentum = torch.nn.Sequential(*list(seeded(models.resnet18(), 8).children())[:-1])
        torch.save({"state_dict": lightly_model.state_dict()}, folder / "lightly.ckpt")
        check("lightly", net, folder / "lightly.ckpt", folder, images)

        from byol_pytorch import BYOL

        learner = BYOL(net, image_size=64, hidden_layer="avgpool")
        seeded(net, 7)
        learner.eval()
        torch.save(learner.state_dict(), folder / "byol_pytorch.pt")
        check("byol-pytorch", net, folder / "byol_pytorch.pt", folder, images)

        import timm

        for name in ("resnet18", "resnet50"):
            net = seeded(timm.create_model(name, pretrained=False), 9)
            torch.save(net.state_dict(), folder / "timm.pth")
            save_file(net.state_dict(), folder / "timm.safetensors")
            for file in ("timm.pth", "timm.safetensors"):
                check(f"timm {name} ({file})", net, folder / file, folder, images)

        ours(folder)
        counted()
        refused(folder)
        described(folder)


def refused(folder):
    """Other networks and damaged files: named, and nothing written."""
    out = folder / "never.safetensors"
    state = models.resnet18().state_dict()

    class Evil:
        def __reduce__(self):
            import os

            return os.system, (f"touch {folder / 'pwned'}",)

    def without(key):
        return {k: v for k, v in state.items() if k != key}

    cases = {
        "layer2.0.bn1.weight": without("layer2.0.bn1.weight"),
        "extra.weight": {**state, "extra.weight": torch.zeros(1)},
        "layer1.0.conv1.weight": {**state, "layer1.0.conv1.weight": torch.zeros(64, 32, 3, 3)},
        "F64": {**state, "bn1.weight": state["bn1.weight"].double()},
        "posix.system": {**state, "note": Evil()},
        "wide_resnet": models.wide_resnet50_2().state_dict(),
        "ResNeXt": models.resnext50_32x4d().state_dict(),
        "no ResNet": models.vit_b_16().state_dict(),
    }
    for word, content in cases.items():
        torch.save(content, folder / "bad.pth")
        code, text, err = program("export", "--weights", folder / "bad.pth", "--out", out)
        assert code == 1 and word in err and not text and not out.exists(), (word, code, err)
        print(f"refused: {err.strip()[:140]}")
    (folder / "evil.pth").write_bytes(pickle.dumps(Evil()))
    code, _, err = program("export", "--weights", folder / "evil.pth", "--out", out)
    assert code == 1 and "posix.system" in err, err
    assert not (folder / "pwned").exists()
    torch.save(state, folder / "whole.pth")
    whole = (folder / "whole.pth").read_bytes()
    for share in (0.0, 0.0001, 0.3, 0.9, 0.9999):
        (folder / "cut.pth").write_bytes(whole[: int(share * len(whole))])
        code, _, err = program("export", "--weights", folder / "cut.pth", "--out", out)
        assert code == 1 and "cut.pth" in err and "panic" not in err and not out.exists(), (share, err)


def ours(folder):
    """Networks that torchvision lacks, against the reference of tests/golden/networks."""
    spec = importlib.util.spec_from_file_location("networks", HERE.parent / "golden" / "networks" / "make.py")
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    torch.set_default_dtype(torch.float32)
    images = torch.randn(PICTURES, 3, 40, 40)
    for blocks, bottleneck, width, stem, version in (
        ((2, 2, 2, 2), False, 128, "imagenet", 1), ((3, 4, 6, 3), True, 16, "small", 1),
        ((2, 2, 2, 2), False, 64, "imagenet", 2), ((3, 4, 6, 3), True, 16, "small", 2),
    ):
        net = seeded(networks.ResNet(blocks, bottleneck, width, 3, stem, version).float(), 11)
        net.fc = torch.nn.Identity()
        save_file(net.state_dict(), folder / "ours.safetensors")
        what = f"blocks {blocks}, width {width}, stem {stem}, version {version}"
        check(what, net, folder / "ours.safetensors", folder, images, "--size", 40)


def counted():
    """The table of models against PyTorch's own counters."""
    from torch.utils.flop_counter import FlopCounterMode

    code, text, err = program("models", "--json")
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(text)["models"]}
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        net = getattr(models, name)()
        net.fc = torch.nn.Identity()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(torch.zeros(1, 3, 224, 224))
        parameters = sum(p.numel() for p in net.parameters())
        assert rows[name]["parameters"] == parameters and rows[name]["flops"] == counter.get_total_flops(), name
        print(f"{name}: {parameters} parameters and {counter.get_total_flops()} FLOPs, as PyTorch counts them")


def described(folder):
    """What we write says how to use it."""
    net = models.resnet18()
    torch.save(net.state_dict(), folder / "a.pth")
    code, _, err = program("export", "--weights", folder / "a.pth", "--size", 64, "--out", folder / "a.safetensors")
    assert code == 0, err
    assert (folder / "a.safetensors").stat().st_mode & 0o044 == 0o044, "not readable by others"
    with safe_open(folder / "a.safetensors", "pt") as file:
        about = json.loads(file.metadata()["byol"])
    assert about["architecture"] == "resnet18" and about["preprocessing"]["size"] == 64, about
    print(json.dumps(about))


if __name__ == "__main__":
    main()
