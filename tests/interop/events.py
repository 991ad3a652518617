"""TensorBoard's own reader on the events of a run.

Run: python tests/interop/events.py PROGRAM      (needs tensorboard and pillow from PyPI)

PROGRAM is target/release/xtask. A short run is made, broken off and gone on with; its events
must be those of metrics.jsonl, each step once.
"""

import io
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

RECIPE = (
    "--batch 32 --set length.steps=300 --set warmup.steps=20 --set base_lr=0.1 --set encoder.width=4 "
    "--set policy.size=14 --set projector.hidden=16 --set predictor.hidden=16 --checkpoint-steps 60 --probe"
).split()

checks = 0


def check(what, true):
    global checks
    assert true, what
    checks += 1


def main():
    program = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        child = subprocess.Popen([program, "pretrain", *RECIPE, "--out", str(run)], stderr=subprocess.DEVNULL)
        metrics = run / "metrics.jsonl"
        while not metrics.exists() or metrics.read_text().count("\n") < 100:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        resume = [program, "pretrain", "--resume", str(run), "--probe"]
        subprocess.run(resume, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        events = EventAccumulator(str(run), size_guidance={"scalars": 0, "histograms": 0, "images": 0})
        events.Reload()
        steps = [json.loads(line) for line in metrics.read_text().splitlines()]
        check("300 steps", len(steps) == 300)
        tags = set(events.Tags()["scalars"])
        for tag in (
            "loss/loss", "optimizer/lr", "optimizer/tau", "representation/z_std", "score/probe_top1",
            "optimizer/gradient_norm", "representation/rank", "score/knn_top1",
        ):
            key = tag.split("/")[1]
            check(key, tag in tags)
            ours = {s["step"]: s[key] for s in steps if key in s}
            theirs = {e.step: e.value for e in events.Scalars(tag)}
            check(f"{key}: steps", list(theirs) == list(ours))
            check(f"{key}: once", len(events.Scalars(tag)) == len(ours))
            check(f"{key}: values", all(math.isclose(theirs[k], ours[k], rel_tol=1e-6, abs_tol=1e-9) for k in ours))
        image = events.Images("views")[0]
        picture = Image.open(io.BytesIO(image.encoded_image_string))
        picture.load()
        check("the picture's size", picture.size == (image.width, image.height))
        histograms = events.Tags()["histograms"]
        check("histograms", {"projections", "predictor/output", "encoder/conv1"} <= set(histograms))
        for tag in histograms:
            seen = events.Histograms(tag)
            check(f"{tag}: steps rise", [e.step for e in seen] == sorted({e.step for e in seen}))
            for event in seen:
                value = event.histogram_value
                check(f"{tag}: all counted", sum(value.bucket) == value.num > 0)
                check(f"{tag}: limits rise", all(a < b for a, b in zip(value.bucket_limit, value.bucket_limit[1:])))
    print(f"{checks} checks passed")


if __name__ == "__main__":
    main()
