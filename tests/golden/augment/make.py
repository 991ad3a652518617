"""Image augmentations and bicubic resampling of BYOL, in NumPy float64.

Source: Grill et al. 2020, appendix B, and DeepMind's byol/utils/augmentations.py
and byol/utils/dataset.py (crop, then bicubic resize).  The input is a random
8-bit image scaled to [0, 1]; every result is clipped to [0, 1] and stored as
channel planes (CHW) of 9 significant digits.  HSV conversions are those of the
standard colorsys module.  The antialiased resampling is checked against Pillow
(skipped when Pillow is not installed).

Run: python make.py   (writes expected.json beside itself)
"""

import colorsys
import json
import math
from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 12, 10


def clip(x):
    return np.clip(x, 0.0, 1.0)


# --- colour; images are [3, H, W] --------------------------------------------

def brightness(x, delta):
    return x + delta


def contrast(x, factor):
    mean = x.mean(axis=(1, 2), keepdims=True)
    return factor * (x - mean) + mean


def in_hsv(x, change):
    out = np.empty_like(x)
    for i, j in np.ndindex(x.shape[1:]):
        out[:, i, j] = colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*x[:, i, j])))
    return out


def saturation(x, factor):
    return in_hsv(x, lambda h, s, v: (h, min(max(s * factor, 0.0), 1.0), v))


def hue(x, delta):
    return in_hsv(x, lambda h, s, v: ((h + delta) % 1.0, s, v))


def grayscale(x):
    grey = 0.2989 * x[0] + 0.5870 * x[1] + 0.1140 * x[2]
    return np.stack([grey, grey, grey])


def solarize(x, threshold):
    return np.where(x < threshold, x, 1.0 - x)


COLOUR = {"brightness": brightness, "contrast": contrast,
          "saturation": saturation, "hue": hue}


# --- geometry -----------------------------------------------------------------

def flip(x):
    return x[:, :, ::-1]


def rotate(x, degrees, fill):
    """Counter-clockwise about the centre (the y axis points down), bilinear."""
    size = x.shape[1]
    wide = np.pad(x, ((0, 0), (size, size), (size, size)), constant_values=fill)
    angle, centre = math.radians(degrees), (size - 1) / 2
    out = np.empty_like(x)
    for row, col in np.ndindex(size, size):
        right, down = col - centre, row - centre
        u = math.cos(angle) * right - math.sin(angle) * down + centre + size
        v = math.sin(angle) * right + math.cos(angle) * down + centre + size
        i, j = math.floor(v), math.floor(u)
        a, b = v - i, u - j
        corners = wide[:, i:i + 2, j:j + 2]
        out[:, row, col] = np.einsum("cij,i,j->c", corners, [1 - a, a], [1 - b, b])
    return out


def blur(x, radius, sigma, padding):
    """Separable Gaussian of 2r+1 taps; padding is "zero" or "reflect"."""
    t = np.arange(-radius, radius + 1, dtype=np.float64)
    kernel = np.exp(-t**2 / (2.0 * sigma**2))
    kernel /= kernel.sum()
    for axis in (2, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (radius, radius)
        wide = np.pad(x, pad, mode="constant" if padding == "zero" else "reflect")
        size = x.shape[axis]
        x = sum(k * np.take(wide, range(i, i + size), axis) for i, k in enumerate(kernel))
    return x


def keys(x, a=-0.5):
    x = abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    if x < 2.0:
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return 0.0


def weights(size, out, antialias):
    """[out, size] matrix resampling a line of `size` pixels to `out` pixels."""
    scale = size / out
    matrix = np.zeros((out, size))
    for o in range(out):
        centre = (o + 0.5) * scale
        if antialias:
            stretch = max(scale, 1.0)
            first = max(math.floor(centre - 2.0 * stretch + 0.5), 0)
            stop = min(math.floor(centre + 2.0 * stretch + 0.5), size)
        else:
            stretch = 1.0
            base = math.floor(centre - 0.5)
            first, stop = max(base - 1, 0), min(base + 3, size)
        for i in range(first, stop):
            matrix[o, i] = keys((i + 0.5 - centre) / stretch)
        matrix[o] /= matrix[o].sum()
    return matrix


def resize(x, box, size, antialias):
    """Crop `box` = (x, y, width, height), then resize to `size` = (height, width)."""
    left, top, width, height = box
    crop = x[:, top:top + height, left:left + width]
    rows = weights(height, size[0], antialias)
    cols = weights(width, size[1], antialias)
    return np.einsum("oi,cij,pj->cop", rows, crop, cols)


def check_with_pillow(x, box, size, result):
    """Pillow crops first here: its own `box` argument may read beyond the box."""
    try:
        from PIL import Image
    except ImportError:
        return
    left, top, width, height = box
    for plane, ours in zip(x, result):
        image = Image.fromarray(plane.astype(np.float32))
        crop = image.crop((left, top, left + width, top + height))
        theirs = np.asarray(crop.resize(size[::-1], Image.Resampling.BICUBIC))
        assert image.mode == "F" and np.abs(theirs - ours).max() < 1e-5


# --- cases --------------------------------------------------------------------

def random_image():
    u8 = np.random.default_rng(40).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    # Corner cases of the hue: black, white, grey, and each pair of equal maxima.
    u8[0, :6] = [[0, 0, 0], [255, 255, 255], [90, 90, 90],
                 [200, 200, 30], [30, 200, 200], [200, 30, 200]]
    return u8


def main():
    u8 = random_image()
    x = u8.transpose(2, 0, 1).astype(np.float64) / 255.0
    cases = []

    def add(op, result, **params):
        # The results are used in the tests with a tolerance far above 9 digits.
        values = [float(f"{v:.9g}") for v in clip(result).ravel()]
        cases.append({"op": op, **params, "expected": values})

    for delta in (0.3, -0.25):
        add("brightness", brightness(x, delta), delta=delta)
    for factor in (1.4, 0.65):
        add("contrast", contrast(x, factor), factor=factor)
    for factor in (1.2, 0.8):
        add("saturation", saturation(x, factor), factor=factor)
    for delta in (0.1, -0.1):
        add("hue", hue(x, delta), delta=delta)
    add("grayscale", grayscale(x))
    add("solarize", solarize(x, 0.5), threshold=0.5)
    add("flip", flip(x))
    for radius, sigma in ((2, 0.7), (1, 2.0), (11, 1.3)):
        for padding in ("zero", "reflect"):
            if padding == "zero" or radius < min(HEIGHT, WIDTH):
                add("blur", blur(x, radius, sigma, padding),
                    radius=radius, sigma=sigma, padding=padding)

    values = {"brightness": -0.2, "contrast": 1.3, "saturation": 1.15, "hue": 0.07}
    order = ["contrast", "hue", "brightness", "saturation"]
    y = x
    for op in order:
        y = clip(COLOUR[op](y, values[op]))
    add("jitter", y, order=order, **values)

    box, full = (2, 1, 7, 9), (0, 0, WIDTH, HEIGHT)
    for antialias in (False, True):
        for region, size in ((box, (8, 8)), (box, (4, 4)), (full, (5, 6))):
            result = resize(x, region, size, antialias)
            if antialias:
                check_with_pillow(x, region, size, result)
            add("resize", result, x=region[0], y=region[1], width=region[2],
                height=region[3], out_height=size[0], out_width=size[1],
                antialias=antialias)

    # Whole policies: crop, clip, flip, jitter, grey, blur, solarize, with the
    # parameters as byol-augment prints them.
    for size, order, grey, solar, padding in [
        (16, ["hue", "contrast", "saturation", "brightness"], False, True, "zero"),
        (41, ["brightness", "saturation", "hue", "contrast"], False, False, "zero"),
        (30, ["saturation", "contrast", "brightness", "hue"], True, True, "reflect"),
    ]:
        box = (1, 2, 8, 9)
        y = clip(resize(x, box, (size, size), False))[:, :, ::-1]
        for op in order:
            y = clip(COLOUR[op](y, values[op]))
        if grey:
            y = clip(grayscale(y))
        radius, sigma = size // 20, 1.1
        if radius > 0:
            y = blur(y, radius, sigma, padding)
        if solar:
            y = solarize(y, 0.5)
        ops = [{"op": "horizontal_flip"}, {"op": "color_jitter", "steps": [{op: values[op]} for op in order]}]
        ops += [{"op": "grayscale"}] * grey + [{"op": "blur", "sigma": sigma, "radius": radius, "border": padding}]
        ops += [{"op": "solarize", "threshold": 0.5}] * solar
        add("policy", y, size=size, crop=dict(zip(("x", "y", "width", "height"), box)), ops=ops)

    # The other operations, each alone on a square part of the picture.
    box = (1, 2, 8, 8)
    part = x[:, 2:10, 1:9]
    gains = [[1.2, 0.05], [0.8, -0.1], [1.05, 0.0]]
    scale = np.array(gains).T.reshape(2, 3, 1, 1)
    erased = part.copy()
    erased[:, 3:6, 2:7] = 0.25
    singles = [
        ({"op": "vertical_flip"}, part[:, ::-1]),
        ({"op": "right_angle", "quarter_turns": 1}, np.rot90(part, 1, (1, 2))),
        ({"op": "right_angle", "quarter_turns": 3}, np.rot90(part, 3, (1, 2))),
        ({"op": "rotate", "degrees": 30.0, "fill": 0.25}, rotate(part, 30.0, 0.25)),
        ({"op": "rotate", "degrees": -200.0, "fill": 0.0}, rotate(part, -200.0, 0.0)),
        ({"op": "posterize", "bits": 3}, np.floor(np.round(part * 255) / 32) * 32 / 255),
        ({"op": "posterize", "bits": 8}, part),
        ({"op": "channel_gain", "channels": gains}, part * scale[0] + scale[1]),
        ({"op": "erase", "area": {"x": 2, "y": 3, "width": 5, "height": 3}, "value": 0.25}, erased),
    ]
    for op, result in singles:
        add("policy", result, size=8, crop=dict(zip(("x", "y", "width", "height"), box)), ops=[op])

    expected = {"height": HEIGHT, "width": WIDTH, "channels": 3,
                "data": u8.ravel().tolist(), "cases": cases}
    Path(__file__).with_name("expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
