"""Small Parquet files as pyarrow writes them, and .mat files as SciPy does, for tests that damage them."""
import io, pathlib
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from PIL import Image
from scipy.io import savemat
here = pathlib.Path(__file__).parent
def png(i):
    b = io.BytesIO(); Image.fromarray(np.full((4, 5, 3), i * 20, np.uint8)).save(b, "PNG"); return b.getvalue()
blobs = [png(i) for i in range(8)]; names = ["ant", "bee"] * 4
struct = [{"bytes": b, "path": f"{i}.png"} for i, b in enumerate(blobs)]
pq.write_table(pa.table({"image": struct, "label": list(range(8))}), here / "plain.parquet", compression="none", row_group_size=3)
pq.write_table(pa.table({"image": blobs, "label": names}), here / "snappy.parquet", compression="snappy", use_dictionary=False)
pq.write_table(pa.table({"image": blobs, "label": names}), here / "zstd-v2.parquet", compression="zstd", data_page_version="2.0")
pq.write_table(pa.table({"image": blobs, "label": pa.array(names).dictionary_encode()}), here / "dictionary.parquet", compression="snappy", write_page_checksum=True)
values = dict(X=np.arange(60, dtype=np.uint8).reshape(3, 4, 5), y=np.array([[1.0], [10.0]]), n=np.array([[7]], np.int32))
savemat(here / "plain.mat", values); savemat(here / "compressed.mat", values, do_compression=True)
pq.write_table(pa.table({"image": [bytes(1 << 20)] * 400}), here / "repeats.parquet", compression="zstd", dictionary_pagesize_limit=4 << 20, row_group_size=400)
