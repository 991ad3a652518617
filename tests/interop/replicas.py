"""Runs of several processes against runs of one.

Run: python tests/interop/replicas.py PROGRAM [ONE]      (needs mpirun)

PROGRAM is what `cargo xtask-mpi --build` prints; ONE, a program without MPI, has to say so when it is
started as one of several. The recipe's rate is so small that a ReLU which another order of summing turns
on or off does not show in the losses: at a larger one the least difference grows tenfold a step, in one
process as in several.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = (
    "--threads 1 --loader-threads 1 --batch 32 --seed 3 --set warmup.steps=1 --set base_lr=1e-3 "
    "--set encoder.width=4 --set policy.size=16 --set projector.hidden=16 --set predictor.hidden=16 "
    "--no-knn --no-tensorboard"
).split()
TWO = ["--set", "accumulation=2", "--set", "sync_batch_norm=true"]
MPIRUN = "mpirun --allow-run-as-root --oversubscribe".split()

checks = 0


def check(what, true):
    global checks
    assert true, what
    checks += 1


def command(program, world, *flags):
    mpirun = [*MPIRUN, "-n", str(world)] if world > 1 else []
    return [*mpirun, program, "pretrain", *flags]


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    check("each step once", [line["step"] for line in lines] == list(range(1, len(lines) + 1)))
    return [line["loss"] for line in lines]


def trained(folder, program, world, steps, *flags):
    run = folder / "-".join([f"n{world}", *flags]).replace("=", "_").replace("/", "_")
    length = ["--set", f"length.steps={steps}"]
    subprocess.run(
        command(program, world, *RECIPE, *length, *flags, "--out", str(run)), check=True, capture_output=True
    )
    return losses(run)


def apart(a, b):
    check("as many steps", len(a) == len(b))
    return max(abs(x - y) for x, y in zip(a, b))


def alike(folder, program):
    one = trained(folder, program, 1, 20)
    for world in (2, 4):
        gap = apart(one, trained(folder, program, world, 20))
        print(f"{world} processes that share statistics: losses at most {gap:.1e} from those of one")
        check(f"{world} processes", gap <= 1e-4)
    gap = apart(trained(folder, program, 1, 20, *TWO), trained(folder, program, 2, 20, *TWO))
    print(f"2 processes that share statistics, 2 micro-batches: {gap:.1e}")
    check("micro-batches of two processes", gap <= 1e-4)
    for world in (2, 4):
        parts = trained(folder, program, 1, 20, "--set", f"accumulation={world}")
        gap = apart(parts, trained(folder, program, world, 20, "--set", "sync_batch_norm=false"))
        print(f"{world} that do not: {gap:.1e} from those of one process with {world} micro-batches")
        check(f"{world} processes by themselves", gap <= 1e-4)
        check("which is something else", apart(parts, one) > 1e-3)


def workers(run):
    """Processes of ours that train in `run`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if entry.name.isdigit() and str(run).encode() in line and b"mpirun" not in line[0]:
            found.append(int(entry.name))
    return sorted(found)


def wait_for(run, steps, child):
    metrics = run / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < steps:
        check("the run goes on", child.poll() is None)
        time.sleep(0.05)


def broken_off(folder, program):
    """Killed on 2, gone on with on 1 and on 4."""
    steps = 60
    flags = ["--set", f"length.steps={steps}", "--checkpoint-steps", "10"]
    whole = trained(folder, program, 2, steps, "--checkpoint-steps", "10")
    run = folder / "killed"
    child = subprocess.Popen(
        command(program, 2, *RECIPE, *flags, "--out", str(run)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    wait_for(run, 25, child)
    ours = workers(run)
    check("two processes", len(ours) == 2)
    # The one that keeps no folder.
    os.kill(ours[-1], signal.SIGKILL)
    begun = time.monotonic()
    _, said = child.communicate(timeout=60)
    took = time.monotonic() - begun
    print(f"one of two killed: the other ended within {took:.1f} s")
    check("ends soon", took < 30 and child.returncode != 0)
    check("nobody is left", not workers(run))
    check("says so", b"signal 9" in said or b"killed" in said.lower())
    for world in (1, 4):
        copy = folder / f"killed-{world}"
        shutil.copytree(run, copy)
        resume = command(program, world, "--resume", str(copy), "--threads", "1")
        subprocess.run(resume, check=True, capture_output=True)
        gap = apart(whole, losses(copy))
        print(f"gone on with {world} process(es): losses at most {gap:.1e} from those of 2 in one go")
        check("goes on", gap <= 1e-4)


def healthy(folder, program):
    """One picture a process: what watches for collapse looks at those of all."""
    run = folder / "few"
    recipe = ["4" if word == "32" else word for word in RECIPE]
    flags = [*recipe, "--set", "length.steps=150", "--out", str(run)]
    subprocess.run(command(program, 4, *flags), check=True, capture_output=True)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    check("150 steps", last["step"] == 150)
    print(f"one picture a process: z std {last['z_std']:.2f}, rank {last['rank']:.2f}")
    check("of all", last["z_std"] > 0.3 and last["rank"] > 1.2)


def interrupted(folder, program):
    """SIGTERM, as schedulers send it, to all: a checkpoint, and on from there."""
    run = folder / "stopped"
    flags = [*RECIPE, "--set", "length.steps=3000", "--out", str(run)]
    child = subprocess.Popen(command(program, 2, *flags), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    wait_for(run, 25, child)
    for pid in workers(run):
        os.kill(pid, signal.SIGTERM)
    _, said = child.communicate(timeout=60)
    check("stops", child.returncode != 0 and said.count(b"stopping after this step") == 1)
    check("with a checkpoint", len(list((run / "checkpoints").iterdir())) == 1)


def refusals(folder, program, one):
    refused = subprocess.run(
        command(program, 3, *RECIPE, "--set", "length.steps=20", "--out", str(folder / "r")), capture_output=True
    )
    check("32 pictures for 3", refused.returncode != 0 and b"multiple of 3" in refused.stderr)
    check("nothing is left", not (folder / "r").exists())
    if one:
        refused = subprocess.run(
            command(one, 2, *RECIPE, "--set", "length.steps=20", "--out", str(folder / "r")), capture_output=True
        )
        check("without MPI", refused.returncode != 0 and b"xtask-mpi" in refused.stderr)
        check("nothing is left", not (folder / "r").exists())


def main():
    program = str(Path(sys.argv[1]).resolve())
    one = str(Path(sys.argv[2]).resolve()) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alike(folder, program)
        broken_off(folder, program)
        healthy(folder, program)
        interrupted(folder, program)
        refusals(folder, program, one)
    print(f"{checks} checks hold")


main()
