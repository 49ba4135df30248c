"""Small Parquet files as pyarrow writes them: python test/golden/scripts/parquet.py test/golden/text"""

import sys

import pyarrow as pa
import pyarrow.parquet as pq

folder = sys.argv[1]
rows = [
    ("很快，好吃，味道足", 1),
    ("没有送水", 0),
    ("a plain text, with a comma", 1),
    ("two\nlines and a \"quote\"", 0),
    ("emoji 😀", 1),
    ("last", 0),
]
text = pa.array([t for t, _ in rows], pa.string())
label = pa.array([n for _, n in rows], pa.int64())
names = pa.array(["good" if n else "bad" for _, n in rows], pa.string()).dictionary_encode()
raw = pa.array([t.encode() for t, _ in rows], pa.binary())
nested = pa.array([{"a": i, "b": str(i)} for i in range(len(rows))])
table = pa.table({"text": text, "meta": nested, "label": label, "sentiment": names, "raw": raw})
pq.write_table(table, f"{folder}/reviews.parquet", row_group_size=4, compression="zstd")
pq.write_table(table.slice(0, 2), f"{folder}/snappy.parquet", compression="snappy")
