"""Pictures to and from the Python world: what `ingest` makes is opened by `datasets`, pyarrow and Pillow,
and what `datasets`, pandas and polars write is streamed here; folders as they come are compared with Pillow.

    python tests/interop/data.py PROGRAM          (a built xtask)

Needs from PyPI: datasets, pandas, polars, pyarrow, pillow, numpy. Works offline, in a folder of its own."""
import csv, io, json, os, pathlib, subprocess, sys, tarfile, tempfile, zipfile
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp()
import numpy as np
from PIL import Image, ImageOps, ImageCms
Image.MAX_IMAGE_PIXELS = None
PROGRAM = os.path.abspath(sys.argv[1])
ROOT = pathlib.Path(tempfile.mkdtemp(prefix="byol-interop-"))
rng = np.random.default_rng(0)
n_checks = 0

def check(what, ok, detail=""):
    global n_checks
    n_checks += 1
    if not ok: sys.exit(f"FAILED: {what} {detail}")
    print(f"ok: {what}")

def run(*words, code=0):
    r = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, cwd=ROOT)
    if r.returncode != code: sys.exit(f"FAILED: {words} exited {r.returncode}\n{r.stderr}")
    return r
def ingest(source, to, *more): return json.loads(run("ingest", source, "--to", to, "--json", *more).stdout)
def inspect(data): return json.loads(run("inspect", data, "--json", "--no-sheets").stdout)
def rows(folder, split="train"):
    import pyarrow.parquet as pq
    out = {}
    for f in sorted((ROOT / folder / "data").glob(f"{split}-*.parquet")):
        for r in pq.read_table(f).to_pylist(): out[r["image"]["path"]] = r
    return out

def scene(h, w, c=3):
    """A smooth picture with some texture."""
    y, x = np.mgrid[0:h, 0:w]
    planes = [127 + 90 * np.sin(x / (9 + 3 * k) + k) * np.cos(y / (7 + 2 * k)) + rng.normal(0, 4, (h, w)) for k in range(c)]
    a = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    return a[..., 0] if c == 1 else a

# --- folders as they come -------------------------------------------------------------------------------
src = ROOT / "as-they-come"
expected, faults = {}, set()
def put(path, image, **kw):
    at = src / path; at.parent.mkdir(parents=True, exist_ok=True); image.save(at, **kw)
    im = ImageOps.exif_transpose(Image.open(at))
    if im.mode in ("I;16", "I;16B", "I"): a = np.array(im).astype(np.int64); a = (a * 255 + 32767) // 65535
    else:
        alpha = im.mode in ("RGBA", "LA", "PA") or "transparency" in im.info
        if alpha:
            rgba = np.array(im.convert("RGBA")).astype(np.int64)
            a = (rgba[..., :3] * rgba[..., 3:] + 255 * (255 - rgba[..., 3:]) + 127) // 255
            if im.mode == "LA": a = a[..., 0]
        else: a = np.array(im.convert("L" if im.mode in ("1", "L") else "RGB"))
    expected[path] = a.astype(np.uint8)
rgb = scene(61, 83); grey = scene(40, 50, 1)
put("cats/rgb.png", Image.fromarray(rgb))
put("cats/grey.png", Image.fromarray(grey))
put("cats/one-bit.png", Image.fromarray(grey > 127))
put("cats/rgba.png", Image.fromarray(np.dstack([rgb, scene(61, 83, 1)])))
put("cats/grey-alpha.png", Image.fromarray(np.dstack([grey, scene(40, 50, 1)]), "LA"))
put("cats/palette.png", Image.fromarray(rgb).quantize(64))
p = Image.fromarray(rgb).quantize(32); put("cats/palette-clear.png", p, transparency=3)
put("dogs/sixteen.png", Image.fromarray((grey.astype(np.uint16) * 257 + rng.integers(0, 200, grey.shape)).clip(0, 65535).astype(np.uint16)))
put("dogs/rgb.jpg", Image.fromarray(rgb), quality=92)
put("dogs/grey.JPEG", Image.fromarray(grey), quality=90)
put("dogs/progressive.jpg", Image.fromarray(scene(200, 300)), quality=90, progressive=True)
put("dogs/subsampled.jpg", Image.fromarray(scene(201, 303)), quality=85, subsampling=2)
put("dogs/444.jpg", Image.fromarray(scene(101, 77)), quality=95, subsampling=0)
put("dogs/cmyk.jpg", Image.fromarray(rgb).convert("CMYK"), quality=95)
for o in range(1, 9):
    exif = Image.Exif(); exif[0x0112] = o
    put(f"birds/turned-{o}.jpg", Image.fromarray(scene(64, 96)), quality=95, exif=exif)
put("birds/lossless.webp", Image.fromarray(rgb), lossless=True)
put("birds/lossy.webp", Image.fromarray(scene(100, 120)), quality=90)
put("birds/anim.gif", Image.fromarray(rgb).quantize(128), save_all=True, append_images=[Image.fromarray(255 - rgb).quantize(128)])
put("birds/plain.bmp", Image.fromarray(rgb))
put("birds/plain.tiff", Image.fromarray(rgb))
put("birds/deflated.tif", Image.fromarray(rgb), compression="tiff_deflate")
put("birds/lzw.tif", Image.fromarray(grey), compression="tiff_lzw")
put("birds/ppm.ppm", Image.fromarray(rgb))
put("vögel/日本語 名前.png", Image.fromarray(scene(9, 9)))
put("vögel/" + "l" * 240 + ".png", Image.fromarray(scene(8, 8)))
put("vögel/deeper/and/deeper/x.png", Image.fromarray(scene(7, 7)))
one = np.array(Image.new("RGB", (1, 1), (1, 2, 3))); put("cats/one-pixel.png", Image.fromarray(one))
def bad(path, data): (src / path).parent.mkdir(parents=True, exist_ok=True); (src / path).write_bytes(data); faults.add(path)
whole = (src / "dogs/rgb.jpg").read_bytes(); png = (src / "cats/rgb.png").read_bytes()
bad("cats/empty.png", b""); bad("cats/cut.png", png[:len(png) // 2]); bad("dogs/cut.jpg", whole[:len(whole) * 2 // 3])
bad("dogs/no-picture.jpg", b"hello, I am a text"); bad("birds/cut.gif", (src / "birds/anim.gif").read_bytes()[:200])
bad("birds/cut.webp", (src / "birds/lossy.webp").read_bytes()[:300]); bad("birds/cut.bmp", (src / "birds/plain.bmp").read_bytes()[:1000])
bad("birds/cut.tif", (src / "birds/deflated.tif").read_bytes()[:500])
os.symlink("/etc/hostname", src / "cats/leaves.png"); faults.add("cats/leaves.png")
os.symlink("nowhere.png", src / "cats/nowhere.png"); faults.add("cats/nowhere.png")
(src / "cats/notes.txt").write_text("not a picture"); (src / "Thumbs.db").write_bytes(b"x")
report = ingest(src, "set")
check("counts of a folder as it comes", report["samples"] == len(expected) and report["faults"] == len(faults), report)
with open(ROOT / "set/faults.csv") as f: named = {r["path"] for r in csv.DictReader(f)}
check("every fault is named", named == faults, named ^ faults)
check("classes are the sub-folders", report["classes"] == sorted(["cats", "dogs", "birds", "vögel"]), report["classes"])
got = rows("set")
check("every picture has its path", set(got) == set(expected), set(got) ^ set(expected))

# Our decoding by its moments; pixel by pixel it is tests/golden/pictures' matter.
def moments(path, a):
    folder = ROOT / "one"; subprocess.run(["rm", "-rf", folder]); (folder / "data").mkdir(parents=True)
    import pyarrow as pa, pyarrow.parquet as pq
    pq.write_table(pa.table({"image": [{"bytes": got[path]["image"]["bytes"], "path": path}]}), folder / "data/train-00000-of-00001.parquet")
    return inspect(folder)
for path, a in sorted(expected.items()):
    m = moments(path, a)
    c = 1 if a.ndim == 2 else 3
    lossy = path.lower().endswith((".jpg", ".jpeg")) or "lossy" in path
    mean = a.reshape(-1, c).mean(0) / 255; std = a.reshape(-1, c).std(0) / 255
    size = (m["sizes"][0]["width"], m["sizes"][0]["height"])
    tol = 2 / 255 if lossy else 1e-9
    check(f"{path[:50]}: size, channels, moments as Pillow's", size == (a.shape[1], a.shape[0]) and m["channels"] == c
          and np.abs(np.array(m["mean"]) - mean).max() <= tol and np.abs(np.array(m["std"]) - std).max() <= tol,
          (size, a.shape, m["channels"], np.array(m["mean"]) - mean, np.array(m["std"]) - std))

# --- ours to theirs -------------------------------------------------------------------------------------
import datasets, pandas as pd, polars as pl, pyarrow as pa, pyarrow.parquet as pq
ingest(src, "held-out", "--val", "0.3")
for folder, splits in (("set", {"train"}), ("held-out", {"train", "validation"})):
    d = datasets.load_dataset(str(ROOT / folder))
    check(f"datasets opens {folder}: splits", set(d) == splits, d)
    feature = d["train"].features
    check("  an Image feature and class names", isinstance(feature["image"], datasets.Image)
          and feature["label"].names == sorted(["cats", "dogs", "birds", "vögel"]), feature)
    wrong = [] if sum(len(d[s]) for s in splits) == len(expected) else ["count"]
    for split in splits:
        raw = d[split].cast_column("image", datasets.Image(decode=False))
        for i, r in enumerate(raw):
            path = r["image"]["path"]
            if "sixteen" not in path and r["image"]["bytes"] != (src / path).read_bytes(): wrong.append(("bytes", path))
            if feature["label"].names[r["label"]] != path.split("/")[0]: wrong.append(("label", path))
            theirs = d[split][i]["image"]
            if theirs.mode in ("L", "RGB") and not np.array_equal(np.array(theirs), expected[path]): wrong.append(("pixels", path))
    check("  bytes, labels and pixels", not wrong, wrong)
md = pq.ParquetFile(next((ROOT / "set/data").glob("*.parquet"))).metadata
column = [md.row_group(0).column(i) for i in range(md.num_columns) if md.row_group(0).column(i).path_in_schema == "image.bytes"][0]
check("picture pages are uncompressed, without statistics", column.compression == "UNCOMPRESSED" and not column.is_stats_set)
flat = ROOT / "flat"; flat.mkdir()
for i in range(6): Image.fromarray(scene(20, 20)).save(flat / f"{i}.png")
ingest(flat, "flat-set")
d = datasets.load_dataset(str(ROOT / "flat-set"))["train"]
check("a flat folder has no label column", list(d.features) == ["image"] and len(d) == 6, d.features)

# --- theirs to ours -------------------------------------------------------------------------------------
names = ["ant", "bee", "cow"]
def as_png(a): b = io.BytesIO(); Image.fromarray(a).save(b, "PNG"); return b.getvalue()
arrays = [scene(24 + i % 3, 31, 3 if i % 4 else 1) for i in range(40)]
blobs = [as_png(a) for a in arrays]; labels = [i * 7 % 3 for i in range(40)]
def theirs(what, write, classes, split="train", columns=()):
    folder = ROOT / ("t-" + what.replace(" ", "-")); (folder / "data").mkdir(parents=True)
    write(folder / "data")
    m = inspect(folder) if not columns else json.loads(run("inspect", folder, "--json", "--no-sheets", *columns).stdout)
    expect = {c: labels.count(i) for i, c in enumerate(classes)} if classes else {}
    px = [a if a.ndim == 3 else np.repeat(a[..., None], 3, -1) for a in arrays]
    every = np.concatenate([a.reshape(-1, 3) for a in px]) / 255
    check(f"{what}: counts, classes, moments", m["samples"] == 40 and {c["name"]: c["count"] for c in m["classes"]} == expect
          and np.allclose(m["mean"], every.mean(0), atol=1e-9) and np.allclose(m["std"], every.std(0), atol=1e-9), m)
    ingest(folder, str(folder) + "-ours", *columns)
    again = rows(str(folder) + "-ours")
    order = [r["image"]["bytes"] for f in sorted(pathlib.Path(str(folder) + "-ours/data").glob("*.parquet")) for r in pq.read_table(f).to_pylist()]
    check(f"{what}: cut anew, the same bytes in the same order", order == blobs, len(order))
features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
hf = datasets.Dataset.from_dict({"image": [{"bytes": b, "path": None} for b in blobs], "label": labels}, features=features)
theirs("datasets struct", lambda f: hf.to_parquet(f / "train-00000-of-00001.parquet"), names)
theirs("datasets small batches", lambda f: hf.to_parquet(f / "train-00000-of-00001.parquet", batch_size=7), names)
hf2 = datasets.Dataset.from_dict({"img": [{"bytes": b, "path": None} for b in blobs], "fine_label": labels},
    features=datasets.Features({"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=names)}))
theirs("datasets other names", lambda f: hf2.to_parquet(f / "train.parquet"), names)
strings = [names[i] for i in labels]
for codec in ("snappy", "gzip", "zstd", "brotli", "none"):
    theirs(f"pandas binary strings {codec}", lambda f: pd.DataFrame({"image": blobs, "label": strings}).to_parquet(f / "pictures.parquet", compression=None if codec == "none" else codec), names)
theirs("pandas category", lambda f: pd.DataFrame({"image": blobs, "label": pd.Categorical(strings)}).to_parquet(f / "pictures.parquet"), names)
theirs("pandas odd names", lambda f: pd.DataFrame({"jpeg bytes": blobs, "what": strings}).to_parquet(f / "a.parquet"), names, columns=("--image-column", "jpeg bytes", "--label-column", "what"))
theirs("polars binary strings", lambda f: pl.DataFrame({"image": blobs, "label": strings}).write_parquet(f / "pictures.parquet"), names)
theirs("polars lz4", lambda f: pl.DataFrame({"image": blobs, "label": strings}).write_parquet(f / "pictures.parquet", compression="lz4"), names)
theirs("polars struct", lambda f: pl.DataFrame({"image": [{"bytes": b, "path": "x.png"} for b in blobs], "label": strings}).write_parquet(f / "pictures.parquet"), names)
def dictionary(f): pq.write_table(pa.table({"image": pa.array(blobs, pa.large_binary()), "label": pa.array(strings).dictionary_encode()}), f / "x.parquet", use_dictionary=True, row_group_size=9, write_page_checksum=True)
theirs("pyarrow dictionary, large binary, page checksums", dictionary, names)
def version2(f): pq.write_table(pa.table({"image": blobs, "label": strings}), f / "x.parquet", data_page_version="2.0", compression="zstd", row_group_size=11)
theirs("pyarrow data pages of version 2", version2, names)
damaged = ROOT / "crc"; (damaged / "data").mkdir(parents=True)
pq.write_table(pa.table({"image": blobs, "label": strings}), damaged / "data/x.parquet", compression="none", use_dictionary=False, write_page_checksum=True)
at = damaged / "data/x.parquet"; data = bytearray(at.read_bytes()); place = bytes(data).find(blobs[3][40:60]); data[place] ^= 1; at.write_bytes(data)
r = run("inspect", damaged, "--no-sheets", code=1)
check("a page that does not match its own checksum is refused", "damaged" in r.stderr and "CRC" in r.stderr, r.stderr)

# --- other sources --------------------------------------------------------------------------------------
wds = ROOT / "wds"; wds.mkdir()
for shard in range(3):
    with tarfile.open(wds / f"train-{shard:03}.tar{'.gz' if shard == 2 else ''}", "w:gz" if shard == 2 else "w") as t:
        for i in range(shard * 10, shard * 10 + 10):
            for ext, data in (("png", blobs[i]), ("cls", str(labels[i]).encode()), ("json", b'{"x": 1}')):
                info = tarfile.TarInfo(f"{i:06}.{ext}"); info.size = len(data); t.addfile(info, io.BytesIO(data))
r = ingest(wds, "wds-set")
check("WebDataset: pictures and labels", r["samples"] == 30 and [x["label"] for x in rows("wds-set").values()] == labels[:30], r)
import webdataset
check("  as webdataset itself reads it", sum(1 for _ in webdataset.WebDataset([str(p) for p in sorted(wds.iterdir())], shardshuffle=False)) == 30)
evil = ROOT / "evil.tar"
with tarfile.open(evil, "w") as t:
    for name in ("good/a.png", "../../escaped.png", "/abs.png"):
        info = tarfile.TarInfo(name); info.size = len(blobs[1]); t.addfile(info, io.BytesIO(blobs[1]))
    link = tarfile.TarInfo("good/link.png"); link.type = tarfile.SYMTYPE; link.linkname = "/etc/passwd"; t.addfile(link)
r = ingest(evil, "evil-set")
check("members that leave the archive are faults", r["samples"] == 1 and r["faults"] == 3 and not (ROOT.parent / "escaped.png").exists(), r)
with zipfile.ZipFile(ROOT / "folders.zip", "w", zipfile.ZIP_DEFLATED) as z:
    for i in range(12): z.writestr(f"wrapped/{'train' if i < 8 else 'val'}/{names[labels[i]]}/{i}.png", blobs[i])
r = ingest("folders.zip", "zip-set")
check("a zip of folders: splits and classes", r["splits"] == {"train": 8, "validation": 4} and r["classes"] == names, r)
table = ROOT / "table"; table.mkdir()
for i in range(9): (table / f"{i}.png").write_bytes(blobs[i])
with open(table / "t.csv", "w", newline="") as f:
    w = csv.writer(f); w.writerow(["file", "species", "split"])
    for i in range(9): w.writerow([f"{i}.png", names[labels[i]], "train" if i < 6 else "test"])
    w.writerow(["missing.png", "ant", "train"]); w.writerow(["../secret.png", "ant", "train"])
r = ingest(table / "t.csv", "csv-set")
check("a table: splits, classes, faults", r["splits"] == {"train": 6, "test": 3} and r["classes"] == names and r["faults"] == 2, r)
arrays5 = ROOT / "arrays"; arrays5.mkdir()
for i in range(4): np.save(arrays5 / f"{i}.npy", rng.integers(0, 256, (20, 22, 5), dtype=np.uint8))
sixteen = rng.integers(0, 4096, (20, 22, 5), dtype=np.uint16); np.save(arrays5 / "sixteen.npy", sixteen)
r = ingest(arrays5, "array-set", "--range-16", "0..4095")
a = np.load(io.BytesIO(rows("array-set")["sixteen.npy"]["image"]["bytes"]))
check(".npy of five channels; 16 bits by the stated rule", r["channels"] == 5 and np.array_equal(a, ((sixteen.astype(np.int64) * 255 + 2047) // 4095)), r)
big = ROOT / "big"; big.mkdir()
for i in range(3): Image.fromarray(scene(300, 500)).save(big / f"{i}.jpg", quality=95)
r = ingest(big, "small-set", "--max-side", "100")
im = Image.open(io.BytesIO(rows("small-set")["0.jpg"]["image"]["bytes"]))
ref = Image.open(big / "0.jpg").resize((100, 60), Image.LANCZOS)
check("--max-side as Pillow's Lanczos", im.size == (100, 60) and np.abs(np.array(im).astype(int) - np.array(ref)).mean() < 3)
print(f"{n_checks} checks passed")
