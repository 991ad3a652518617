"""Small pictures of every kind, and their pixels as Pillow (and the stated rules) have them.

NAME.EXT is the picture, expected/NAME.EXT.npy its pixels: upright, over white, 8 bit. 16 bits become 8 by
round(v / 257). Lossy pictures are compared by their mean difference."""
import pathlib
import numpy as np
from PIL import Image, ImageOps
rng = np.random.default_rng(0)
here = pathlib.Path(__file__).parent; (here / "expected").mkdir(exist_ok=True)

def scene(h, w, c=3):
    y, x = np.mgrid[0:h, 0:w]
    planes = [127 + 100 * np.sin(x / (5 + 2 * k) + k) * np.cos(y / (4 + k)) for k in range(c)]
    a = np.clip(np.stack(planes, -1) + rng.normal(0, 2, (h, w, c)), 0, 255).astype(np.uint8)
    return a[..., 0] if c == 1 else a
def put(name, image, **kw):
    image.save(here / name, **kw)
    im = ImageOps.exif_transpose(Image.open(here / name))
    if im.mode in ("I;16", "I;16B", "I"): a = (np.array(im).astype(np.int64) * 255 + 32767) // 65535
    elif im.mode in ("RGBA", "LA", "PA") or "transparency" in im.info:
        rgba = np.array(im.convert("RGBA")).astype(np.int64)
        a = (rgba[..., :3] * rgba[..., 3:] + 255 * (255 - rgba[..., 3:]) + 127) // 255
        if im.mode == "LA": a = a[..., 0]
    else: a = np.array(im.convert("L" if im.mode in ("1", "L") else "RGB"))
    np.save(here / "expected" / (name + ".npy"), a.astype(np.uint8))
rgb, grey, alpha = scene(17, 23), scene(17, 23, 1), scene(17, 23, 1)
put("rgb.png", Image.fromarray(rgb))
put("grey.png", Image.fromarray(grey))
put("one-bit.png", Image.fromarray(grey > 127))
put("rgba.png", Image.fromarray(np.dstack([rgb, alpha])))
put("grey-alpha.png", Image.fromarray(np.dstack([grey, alpha]), "LA"))
put("palette.png", Image.fromarray(rgb).quantize(16))
put("palette-clear.png", Image.fromarray(rgb).quantize(16), transparency=3)
put("sixteen.png", Image.fromarray((grey.astype(np.uint16) * 257 + rng.integers(0, 200, grey.shape)).clip(0, 65535).astype(np.uint16)))
for name, kw in dict(plain={}, progressive=dict(progressive=True), halved=dict(subsampling=2), full=dict(subsampling=0)).items():
    put(f"{name}.jpg", Image.fromarray(scene(33, 47)), quality=92, **kw)
put("grey.jpg", Image.fromarray(grey), quality=92)
put("cmyk.jpg", Image.fromarray(scene(33, 47)).convert("CMYK"), quality=95)
for o in range(2, 9):
    exif = Image.Exif(); exif[0x0112] = o
    put(f"turned-{o}.jpg", Image.fromarray(scene(16, 24)), quality=95, subsampling=0, exif=exif)
put("lossless.webp", Image.fromarray(rgb), lossless=True)
put("lossy.webp", Image.fromarray(scene(33, 47)), quality=92)
put("animated.gif", Image.fromarray(rgb).quantize(16), save_all=True, append_images=[Image.fromarray(255 - rgb).quantize(16)])
put("plain.bmp", Image.fromarray(rgb))
put("plain.tif", Image.fromarray(rgb))
put("deflated.tif", Image.fromarray(rgb), compression="tiff_deflate")
put("lzw.tif", Image.fromarray(grey), compression="tiff_lzw")
put("plain.ppm", Image.fromarray(rgb))
five = rng.integers(0, 65536, (6, 7, 5), dtype=np.uint16)
np.save(here / "five.npy", five)
np.save(here / "expected/five.npy.npy", ((five.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8))
