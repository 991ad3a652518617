"""A GPU against the CPU, from the command line.

Run: python tests/gpu/parity.py PROGRAM [BROKEN [SWIFTSHADER]]

PROGRAM is what `cargo xtask-wgpu --build` prints (or xtask-vulkan, xtask-cuda; DEVICE=vulkan or cuda then says so).
With Mesa's software Vulkan alone, that is what is compared, and that `auto` leaves it alone; with a GPU, the GPU.
What software Vulkan makes of xtask-vulkan's kernels (SPIR-V) is right or refused.
BROKEN is a folder with libbroken.so (of broken.c) and its JSON: a device that drops kernels, which has to be refused.
SWIFTSHADER is where Debian's package chromium-common was unpacked: another software Vulkan, whose versions differ:
it is refused, or it trains as the CPU does.

The recipe's rate is so small that a ReLU which another order of summing turns on or off does not show in the
losses: at a larger one the least difference grows tenfold a step, on one device as between two.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEVICE = os.environ.get("DEVICE", "wgpu")
RECIPE = (
    "--batch 32 --seed 3 --set length.steps=20 --set warmup.steps=1 --set base_lr=1e-3 "
    "--set encoder.width=4 --set policy.size=16 --set projector.hidden=16 --set predictor.hidden=16 "
    "--no-knn --no-tensorboard --metrics-every 1"
).split()
SMALL = "--encoder resnet18_w4_small --size 16 --batch 8".split()
NO_DRIVER = {"VK_ICD_FILENAMES": "/nonexistent", "VK_DRIVER_FILES": "/nonexistent"}

checks = 0


def check(what, true, said=""):
    global checks
    assert true, f"{what}\n{said}"
    checks += 1


def run(program, *args, **env):
    ran = subprocess.run(
        [program, *args], capture_output=True, text=True, env={**os.environ, **env}, timeout=900
    )
    return ran.returncode, ran.stdout, ran.stderr


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    check("each step once", [line["step"] for line in lines] == list(range(1, 21)))
    return [line["loss"] for line in lines]


def trained(program, folder, name, *args, **env):
    begun = time.monotonic()
    code, _, said = run(program, "pretrain", *RECIPE, *args, "--out", str(folder / name), **env)
    check(name, code == 0, said)
    print(f"{name}: {time.monotonic() - begun:.0f} s")
    return losses(folder / name), said


def apart(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def refused(program, folder, name, **env):
    """Neither trained on nor asked for representations, and nothing is left of it."""
    env = {"XDG_CACHE_HOME": str(folder / f"cache of {name}"), **env}
    code, _, said = run(program, "pretrain", *RECIPE, "--device", DEVICE, "--out", str(folder / name), **env)
    check("nothing is trained on it", code != 0 and "it is not used" in said, said)
    check("nothing is left", not (folder / name).exists())
    print(said.strip().splitlines()[-1])


def evaluated(program, folder):
    """What a run has learned, there and on the CPU."""

    def of(command, device):
        begun = time.monotonic()
        code, out, said = run(program, *command.split(), "--run", str(folder / "cpu"), "--device", device, "--json")
        check(f"{command} on {device}", code == 0, said)
        print(f"{command} on {device}: {time.monotonic() - begun:.0f} s")
        return json.loads(out)

    png = folder / "neighbors.png"
    kept = folder / "cache" / "byol" / "features"
    here = of(f"neighbors --out {png}", "cpu")["asked"]
    before = len(list(kept.iterdir()))
    there = of(f"neighbors --out {png}", DEVICE)["asked"]
    check("a GPU's representations are its own", len(list(kept.iterdir())) == 2 * before > 0)
    cosines = [[near["cosine"] for asked in all for near in asked["neighbors"]] for all in (here, there)]
    print(f"cosines of {len(cosines[0])} neighbours at most {apart(*cosines):.1e} from the CPU's")
    check("the same pictures ask", [asked["query"] for asked in here] == [asked["query"] for asked in there])
    check("representations", len(cosines[0]) == 64 and apart(*cosines) <= (2e-3 if DEVICE == "cuda" else 1e-4))  # TF32
    for command in ["knn", "finetune --labels 1% --rates 0.005 --epochs 5 --no-scratch"]:
        here, there = of(command, "cpu"), of(command, DEVICE)
        check("says where", here["device"] == "cpu" and there["device"].startswith(f"{DEVICE}:"), there["device"])
        print(f"{command}: top-1 {here['top1']:.4f}, there {there['top1']:.4f}")
        check(f"{command}: top-1", abs(here["top1"] - there["top1"]) <= 0.01)
        if command == "knn":
            random = [result["random_init"]["top1"] for result in (here, there)]
            print(f"of the same encoder at random initialisation {random[0]:.4f}, there {random[1]:.4f}")
            check("drawn alike", abs(random[0] - random[1]) <= 0.002)


def main():
    program = str(Path(sys.argv[1]).resolve())
    broken, swiftshader = [Path(arg).resolve() for arg in sys.argv[2:4]] + [None] * (4 - len(sys.argv))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))

        code, out, said = run(program, "devices", "--json")
        check("devices", code == 0, said)
        devices = json.loads(out)["devices"]
        gpus = [device for device in devices if device["name"].startswith(f"{DEVICE}:")]
        check("cpu and a GPU", devices[0]["name"] == "cpu" and gpus, out)
        for gpu in gpus:
            print(f"{gpu['name']}: {gpu['title']}, {gpu['driver']}, {' '.join(gpu['precisions'])}")

        code, out, said = run(program, "devices", "--check", "--device", DEVICE, *SMALL, "--json")
        passes = code == 0
        # Mesa's compiler does not survive SPIR-V kernels: that one is refused.
        check("the comparison passes", passes or DEVICE == "vulkan" and gpus[0]["software"], out + said)
        if passes:
            compared(program, folder, gpus, out)
        else:
            refused(program, folder, "not the CPU's")
            print("so nothing more of it is compared")
        if broken and passes:
            env = {"VK_LAYER_PATH": str(broken), "VK_INSTANCE_LAYERS": "VK_LAYER_BYOL_broken"}
            code, out, said = run(program, "devices", "--check", "--device", DEVICE, *SMALL, **env)
            print("dropping kernels: " + out.strip().splitlines()[-1])
            check("a broken device is seen", code != 0 and "NOT the CPU's" in out and "WRONG" in out, out + said)
            refused(program, folder, "dropping kernels", **env)
            code, _, said = run(
                program, "embed", "--run", str(folder / "cpu"), "--device", DEVICE, "--out", str(folder / "wrong.parquet"),
                **{"XDG_CACHE_HOME": str(folder / "other cache"), **env},
            )
            check("no representations either", code != 0 and "it is not used" in said, said)
            check("nothing is left", not list(folder.glob("wrong.parquet*")))

        icd = swiftshader and next(swiftshader.rglob("vk_swiftshader_icd.json"), None)
        if icd:
            env = {"VK_ICD_FILENAMES": str(icd), "VK_DRIVER_FILES": str(icd)}
            code, out, said = run(program, "devices", "--check", "--device", DEVICE, *SMALL, **env)
            print("SwiftShader: " + out.strip().splitlines()[-1])
            if code == 0:
                cpu, _ = trained(program, folder, "beside SwiftShader", "--device", "cpu")
                there, _ = trained(program, folder, "SwiftShader", "--device", DEVICE, **env)
                check("what passes computes right", apart(cpu, there) <= 1e-3)
            else:
                refused(program, folder, "SwiftShader", **env)
    print(f"{checks} checks hold")


def compared(program, folder, gpus, out):
    """A device whose operations are the CPU's, with these."""
    results = json.loads(out)["devices"][0]["results"]
    worst = max(results, key=lambda row: row["error"] / row["allowed"])
    print(f"{len(results)} results as the CPU's; the furthest: {worst['operation']}, {worst['of']}, {worst['error']:.1e}")
    check("gradients among them", sum(row["of"] in ("x", "weights") for row in results) > 20)
    check("views among them", any("views" in row["operation"] for row in results))

    cpu, _ = trained(program, folder, "cpu", "--device", "cpu")
    there, said = trained(program, folder, "there", "--device", DEVICE)
    check("says where", f"on {DEVICE}:" in said, said)
    check("proves itself first", "results as the CPU's" in said, said)
    print(f"losses over 20 steps at most {apart(cpu, there):.1e} from the CPU's")
    check("losses", apart(cpu, there) <= 1e-3)
    again, said = trained(program, folder, "again", "--device", DEVICE)
    check("proves itself once", "results as the CPU's" not in said, said)

    evaluated(program, folder)

    views = ["--set", "device_views=true"]
    cpu_views, _ = trained(program, folder, "cpu views", "--device", "cpu", *views)
    views, _ = trained(program, folder, "views", "--device", DEVICE, *views)
    print(f"with views made there: {apart(cpu_views, views):.1e}; from views of the CPU {apart(cpu, views):.1e}")
    check("losses with views made there", apart(cpu_views, views) <= 1e-3)

    sparse = folder / "sparse"
    code, _, said = run(program, "pretrain", *RECIPE[:-2], "--device", DEVICE, "--out", str(sparse))
    check("few numbers are read", code == 0, said)
    lines = [json.loads(line)["step"] for line in (sparse / "metrics.jsonl").read_text().splitlines()]
    check("the first, every tenth and the last", lines == [1, 10, 20], lines)

    code, out, said = run(
        program, "pretrain", *RECIPE, "--device", DEVICE, "--set", "precision=bf16", "--out", str(folder / "half")
    )
    if "bf16" in gpus[0]["precisions"]:
        check("bf16", code == 0, said)
    else:
        check("bf16 is refused, not imitated", code != 0 and "computes with" in said, said)
        check("nothing is left", not (folder / "half").exists())

    code, _, said = run(program, "pretrain", *RECIPE, "--set", "precision=f16", "--device", "cpu", "--out", str(folder / "f16"))
    check("the CPU has no f16", code != 0 and "the CPU computes with" in said, said)
    if "f16" in gpus[0]["precisions"]:
        code, out, said = run(program, "devices", "--check", "--device", DEVICE, *SMALL, "--precision", "f16")
        check("f16 is compared", code == 0, out + said)
        half, said = trained(program, folder, "f16", "--device", DEVICE, "--set", "precision=f16")
        print(f"in f16: losses at most {apart(cpu, half):.1e} from the CPU's in f32")
        check("f16 is said", "f16 values" in said, said)
        check("losses in f16, which differ", 1e-6 < apart(cpu, half) <= 1e-2)

    if all(gpu.get("software") for gpu in gpus):
        _, said = trained(program, folder, "auto", "--device", "auto")
        check("auto leaves a program alone", "on the CPU (no GPU was found" in said, said)
    _, said = trained(program, folder, "no driver", "--device", "auto", **NO_DRIVER)
    if DEVICE != "cuda":
        check("auto without a driver", "on the CPU (no GPU was found" in said, said)
        code, _, said = run(program, "pretrain", *RECIPE, "--device", DEVICE, "--out", str(folder / "no"), **NO_DRIVER)
        check("a device that is not there", code != 0 and "finds nothing here" in said, said)
        check("nothing is left", not (folder / "no").exists())


main()
