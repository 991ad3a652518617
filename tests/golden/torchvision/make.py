"""torchvision's transforms (v2 functional, on 8-bit tensors) on given parameters.

Each case holds the parameters as byol-augment prints them, so that the test
replays them, and what torchvision makes of the same numbers: whole levels, before
normalisation. Of large views some values are kept, STRIDES apart.

Photograph: scikit-image's astronaut (NASA, public domain), shrunk. Noise: a formula
that the test repeats. `crops.json` has the crops that RandomResizedCrop accepts.

Run: python make.py   (writes photo.bin, expected.bin, cases.json, crops.json)
"""

import json
import math
from pathlib import Path

import numpy as np
import skimage.data
import torch
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

HERE = Path(__file__).parent
STRIDES = {224: 61, 96: 11, 32: 1, 28: 1}  # of the values kept of a view of so many pixels
PHOTO = (200, 150)  # width, height
NOISE = (61, 47)


def photo():
    image = Image.fromarray(skimage.data.astronaut()).crop((60, 0, 460, 300))
    return np.asarray(image.resize(PHOTO, Image.Resampling.LANCZOS))


def noise(width, height, channels):
    i = np.arange(width * height * channels, dtype=np.uint64)
    mixed = (i * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return ((mixed ^ (mixed >> np.uint64(13))) & np.uint64(255)).astype(np.uint8).reshape(height, width, channels)


def gray(rgb):
    return np.ascontiguousarray(rgb[..., 1:2])


def tensor(hwc):
    return torch.from_numpy(np.array(hwc)).permute(2, 0, 1).contiguous()


def apply(x, op, size):
    """One operation, given as byol-augment prints it."""
    name = op["op"]
    if name == "horizontal_flip":
        return F.horizontal_flip(x)
    if name == "vertical_flip":
        return F.vertical_flip(x)
    if name == "right_angle":
        return torch.rot90(x, op["quarter_turns"], (-2, -1))
    if name == "rotate":
        fill = [op["fill"] * 255.0] * x.shape[0]
        return F.rotate(x, op["degrees"], InterpolationMode.BILINEAR, fill=fill)
    if name == "color_jitter":
        for step in op["steps"]:
            (kind, value), = step.items()
            x = getattr(F, "adjust_" + kind)(x, value)
        return x
    if name == "grayscale":
        return F.rgb_to_grayscale(x, num_output_channels=3)
    if name == "blur":
        return F.gaussian_blur(x, [2 * op["radius"] + 1] * 2, [op["sigma"]] * 2)
    if name == "solarize":
        return F.solarize(x, math.ceil(op["threshold"] * 255.0))
    if name == "posterize":
        return F.posterize(x, op["bits"])
    if name == "erase":
        a = op["area"]
        value = torch.full((x.shape[0], 1, 1), round(op["value"] * 255), dtype=torch.uint8)
        return F.erase(x, a["y"], a["x"], a["height"], a["width"], value)
    raise ValueError(name)


def run(image, crop, size, filter, ops):
    x = tensor(image)
    if crop["width"] != size or crop["height"] != size:
        mode = InterpolationMode.BICUBIC if filter == "bicubic" else InterpolationMode.BILINEAR
        x = F.resized_crop(x, crop["y"], crop["x"], crop["height"], crop["width"], [size, size], mode, antialias=True)
    else:
        x = F.crop(x, crop["y"], crop["x"], size, size)
    for op in ops:
        x = apply(x, op, size)
    return x


def box(x, y, width, height):
    return dict(x=x, y=y, width=width, height=height)


def jitter(*steps):
    return dict(op="color_jitter", steps=[{kind: value} for kind, value in steps])


def f32(value):
    return float(np.float32(value))


def main():
    images = {"photo": photo(), "noise": noise(*NOISE, 3)}
    images |= {name + "_gray": gray(image) for name, image in list(images.items())}
    images["noise_224"] = noise(224, 224, 3)
    images["photo_224"] = np.asarray(Image.fromarray(skimage.data.astronaut()).crop((100, 0, 324, 224)))
    (HERE / "photo.bin").write_bytes(images["photo"].tobytes())
    (HERE / "photo_224.bin").write_bytes(images["photo_224"].tobytes())
    cases, values = [], bytearray()

    def add(kind, picture, crop, size, ops=(), filter="bicubic"):
        image = images[picture]
        assert crop["x"] + crop["width"] <= image.shape[1] and crop["y"] + crop["height"] <= image.shape[0]
        for op in ops:  # the numbers that the test reads are 32-bit
            for key in ("sigma", "degrees", "fill", "threshold", "value"):
                if key in op:
                    op[key] = f32(op[key])
            if "steps" in op:
                op["steps"] = [{k: f32(v) for k, v in step.items()} for step in op["steps"]]
        out = run(image, crop, size, filter, ops).numpy()
        kept = out.ravel()[:: STRIDES[size]]
        cases.append(dict(kind=kind, picture=picture, size=size, filter=filter, crop=crop, ops=list(ops),
                          stride=STRIDES[size], values=len(kept)))
        values.extend(kept.tobytes())

    # Each operation on identical input: a part of the picture, not resized.
    for picture, size in [("photo", 96), ("photo", 28), ("noise", 32), ("photo_gray", 96), ("noise_gray", 28),
                          ("photo_224", 224), ("noise_224", 224)]:
        colour = not picture.endswith("gray")
        crop = box(0, 0, size, size) if size == 224 else box(9, 7, size, size)
        radius = size // 20
        single = [dict(op="horizontal_flip"), dict(op="vertical_flip"),
                  dict(op="rotate", degrees=23.5, fill=0.0), dict(op="rotate", degrees=-70.0, fill=0.5),
                  dict(op="solarize", threshold=0.5), dict(op="solarize", threshold=0.3),
                  dict(op="posterize", bits=3), dict(op="erase", area=box(3, 5, 11, 8), value=0.5)]
        single += [dict(op="right_angle", quarter_turns=k) for k in (1, 2, 3)]
        single += [jitter(("brightness", b)) for b in (0.6, 1.4, 1.0)]
        single += [jitter(("contrast", c)) for c in (0.6, 1.37)]
        single += [dict(op="blur", radius=radius, sigma=s, border="reflect") for s in (0.1, 0.45, 1.0, 1.7, 2.0)]
        if colour:
            single += [jitter(("saturation", s)) for s in (0.8, 1.2, 0.3)]
            single += [jitter(("hue", h)) for h in (-0.1, 0.07, 0.31)]
            single += [dict(op="grayscale")]
        for op in single:
            add("operation", picture, crop, size, [op])

    # Crops: larger and smaller than the view, long and flat ones.
    crops = {"photo": [box(0, 0, 200, 150), box(20, 31, 120, 111), box(50, 3, 47, 61), box(0, 40, 200, 9)],
             "noise": [box(0, 0, 61, 47), box(7, 5, 33, 29), box(40, 11, 5, 30)]}
    for picture, boxes in crops.items():
        for suffix in ("", "_gray"):
            for size in (224, 96, 32, 28):
                for crop in boxes:
                    for filter in ("bicubic", "bilinear"):
                        if (size, suffix) != (224, "_gray"):
                            add("resize", picture + suffix, crop, size, filter=filter)

    # Whole policies, in several orders of the jitter.
    orders = [("brightness", "contrast", "saturation", "hue"), ("hue", "saturation", "contrast", "brightness"),
              ("contrast", "hue", "brightness", "saturation"), ("saturation", "brightness", "hue", "contrast")]
    strengths = [dict(brightness=0.71, contrast=1.28, saturation=1.11, hue=0.06),
                 dict(brightness=1.33, contrast=0.68, saturation=0.84, hue=-0.09)]
    for size in (224, 96, 32, 28):
        for picture, crop in [("photo", box(11, 6, 150, 121)), ("photo", box(60, 30, 70, 66)),
                              ("noise", box(3, 2, 50, 41))]:
            for i, order in enumerate(orders):
                strength = strengths[i % 2]
                ops = [dict(op="horizontal_flip")] if i % 2 else []
                ops.append(jitter(*[(name, strength[name]) for name in order]))
                if i == 3:
                    ops.append(dict(op="grayscale"))
                ops.append(dict(op="blur", radius=size // 20, sigma=(0.3, 0.9, 1.5, 2.0)[i], border="reflect"))
                if i % 2:
                    ops.append(dict(op="solarize", threshold=0.5))
                add("policy", picture, crop, size, ops)
                ops = [op for op in ops if op["op"] != "grayscale"]
                ops = [jitter(*[(n, strength[n]) for n in order if n in ("brightness", "contrast")])
                       if op["op"] == "color_jitter" else op for op in ops]
                if size != 224:
                    add("policy", picture + "_gray", crop, size, ops)
    (HERE / "expected.bin").write_bytes(values)
    (HERE / "cases.json").write_text(json.dumps(dict(
        photo=PHOTO, noise=NOISE, cases=cases), separators=(",", ":")) + "\n")

    # Accepted crops, for the distributions: photographs, and one far too flat.
    torch.manual_seed(0)
    sets = []
    for width, height in [(500, 375), (300, 60)]:
        image = torch.empty(3, height, width)
        draws = [torchvision.transforms.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])
                 for _ in range(2000)]
        sets.append(dict(width=width, height=height,
                         crops=[[int(v) for v in (x, y, w, h)] for y, x, h, w in draws]))
    (HERE / "crops.json").write_text(json.dumps(sets, separators=(",", ":")) + "\n")
    print(len(cases), "cases,", len(values), "values; torch", torch.__version__, "torchvision", torchvision.__version__)


if __name__ == "__main__":
    main()
