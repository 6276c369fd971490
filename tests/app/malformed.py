"""Files for the task `forecasting` that cannot be used, each with the problem to be reported."""

import gzip
import io
import json
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq


class Malformed(NamedTuple):
    """One upload that must be refused."""

    name: str
    filename: str
    body: bytes
    fields: dict[str, str]  # of the form, beside the file and the task
    pointer: str  # part of a problem's pointer
    word: str  # part of that problem's detail


HEAD = b"unique_id,ds,y\n"
DAYS = [f"a,2024-01-{day:02d},{day}\n".encode() for day in range(1, 11)]


def table(*rows: bytes, head: bytes = HEAD) -> bytes:
    return head + b"".join(rows)


def lines(*records: object) -> bytes:
    return b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records)


def item(**fields: Any) -> dict[str, Any]:
    return {"item_id": "a", "start": "2024-01-01", "freq": "D", "target": [1, 2, 3, 4]} | fields


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def flipped(body: bytes) -> bytes:
    """Damage every third byte of the data, but not the two ends."""
    middle = bytearray(body)
    middle[8:-40:3] = bytes(byte ^ 0xFF for byte in middle[8:-40:3])
    return bytes(middle)


STAMPS = [date(2024, 1, day) for day in range(1, 11)]
GOOD_PARQUET = parquet(ds=STAMPS, y=[float(day) for day in range(10)])
BOMB = parquet(ds=pa.array([0] * 10), **{f"c{at}": pa.array([0] * 10) for at in range(10_001)})


def csv(name: str, body: bytes, pointer: str, word: str, **fields: str) -> Malformed:
    return Malformed(f"csv {name}", "data.csv", body, fields, pointer, word)


def jsonl(name: str, body: bytes, pointer: str, word: str, **fields: str) -> Malformed:
    return Malformed(f"jsonl {name}", "data.jsonl", body, fields, pointer, word)


def parq(name: str, body: bytes, pointer: str, word: str, **fields: str) -> Malformed:
    return Malformed(f"parquet {name}", "data.parquet", body, fields, pointer, word)


CSV = [
    csv("empty file", b"", "/file/row/1", "empty"),
    csv("blank lines only", b"\n\n\n", "/file/row/", "empty"),
    csv("header only", HEAD, "/file/row/1", "no rows"),
    csv("header missing", table(*DAYS, head=b""), "/file/row/1", "header"),
    csv("column ds missing", table(*DAYS, head=b"unique_id,day,y\n"), "/file/row/1/column/ds", "'ds'"),
    csv("column y missing", table(*DAYS, head=b"unique_id,ds,z\n"), "/file/row/1/column/y", "'y'"),
    csv("duplicate header", table(*DAYS, head=b"y,ds,y\n"), "/file/row/1/column/y", "2 times"),
    csv("rows in quotes", b'"unique_id;ds;y"\n"a;2024-01-01;1"\n', "/file/row/1", "';'"),
    csv("semicolons, a row too short", b"ds;y\n2024-01-01;1\n2024-01-02\n", "/file/row/3", "got 1"),
    csv("commas and points", b"ds;y\n2024-01-01;1,5\n2024-01-02;2.5\n", "/file/row/2", "write a point"),
    csv("row too short", table(*DAYS[:3], b"a,2024-01-04\n"), "/file/row/5", "Expected 3 fields, got 2"),
    csv("row too long", table(*DAYS[:3], b"a,2024-01-04,4,5\n"), "/file/row/5", "got 4"),
    csv("decimal comma", table(b"a,2024-01-01,1,5\n", b"a,2024-01-02,2,5\n"), "/file/row/2", "got 4"),
    csv("Latin-1", table(*DAYS[:2], b"caf\xe9,2024-01-03,3\n"), "/file/row/4", "0xE9"),
    csv("UTF-16", table(*DAYS).decode().encode("utf-16"), "/file/row/1", "UTF-16"),
    csv("NUL byte", table(*DAYS[:4], b"a,2024-01-05,\x005\n"), "/file/row/6", "NUL"),
    csv("binary rubbish", bytes(range(1, 256)) * 20, "/file/row/", "UTF-8"),
    csv("quote left open", table(*DAYS[:2], b'"a,2024-01-03,3\n', *DAYS[3:]), "/file/row/", "line 4"),
    csv("text after a quote", table(b'"a"b,2024-01-01,1\n'), "/file/row/2", "quote"),
    csv("gigantic field", table(b"a" * (1 << 20) + b"a,2024-01-01,1\n"), "/file/row/2", "1 MiB"),
    csv("too many columns", b",".join(b"c%d" % at for at in range(10_001)) + b"\n", "/file/row/1", "10,001"),
    csv("column name too long", table(*DAYS, head=b"ds," + b"x" * 300 + b",y\n"), "/file/row/1", "256"),
    csv("bare carriage returns", table(*DAYS).replace(b"\n", b"\r"), "/file/row/1", "carriage"),
    csv("text for a number", table(*DAYS[:3], b"a,2024-01-04,high\n"), "/file/row/5/column/y", "'high'"),
    csv("number with a unit", table(*DAYS[:3], b"a,2024-01-04,5 kg\n"), "/file/row/5/column/y", "'5 kg'"),
    csv("number with underscores", table(*DAYS[:3], b"a,2024-01-04,1_0\n"), "/file/row/5/column/y", "'1_0'"),
    csv("infinity", table(*DAYS[:3], b"a,2024-01-04,-inf\n"), "/file/row/5/column/y", "not finite"),
    csv("number too large", table(*DAYS[:3], b"a,2024-01-04,1e301\n"), "/file/row/5/column/y", "too large"),
    csv("number overflowing", table(*DAYS[:3], b"a,2024-01-04,1e999\n"), "/file/row/5/column/y", "too large"),
    csv(
        "day or month first",
        table(b"a,1/2/2024,1\n", b"a,2/2/2024,2\n"),
        "/file/row/2/column/ds",
        "ambiguous",
    ),
    csv("no such day", table(*DAYS[:3], b"a,2024-02-30,4\n"), "/file/row/5/column/ds", "calendar"),
    csv("not a date", table(*DAYS[:3], b"a,yesterday,4\n"), "/file/row/5/column/ds", "'yesterday'"),
    csv("date missing", table(*DAYS[:3], b"a,,4\n"), "/file/row/5/column/ds", "missing"),
    csv("date among integers", table(b"a,1,1\n", b"a,2,2\n", b"a,x,3\n"), "/file/row/4/column/ds", "integer"),
    csv("id missing", table(*DAYS[:3], b",2024-01-04,4\n"), "/file/row/5/column/unique_id", "missing"),
    csv("id too long", table(*DAYS[:3], b"x" * 300 + b",2024-01-04,4\n"), "/column/unique_id", "256"),
    csv("duplicate time stamp", table(*DAYS[:3], DAYS[2]), "/file/row/5/column/ds", "Duplicate"),
    csv(
        "time stamp off the grid",
        table(*DAYS[:3], b"a,2024-01-04 07:00,4\n"),
        "/file/row/5/column/ds",
        "Mixed",
    ),
    csv(
        "series of two frequencies",
        table(*DAYS, *(b"b,2024-%02d-01,1\n" % month for month in range(1, 13))),
        "/file/row/12/column/ds",
        "Mixed frequency",
    ),
    csv(
        "irregular",
        table(*DAYS[:2], b"a,2024-08-01,3\n", b"a,2025-01-01,4\n"),
        "/file/row/3/column/ds",
        "Irregular",
    ),
    csv("one row a series", table(b"a,2024-01-01,1\n", b"b,2024-01-01,1\n"), "/column/ds", "frequency"),
    csv(
        "unknown split",
        table(b"1,2024-01-01,train\n", b"2,2024-01-02,dev\n", head=b"y,ds,split\n"),
        "/file/row/3/column/split",
        "'dev'",
    ),
    csv(
        "split out of order",
        table(b"1,2024-01-01,test\n", b"2,2024-01-02,train\n", head=b"y,ds,split\n"),
        "/file/row/3/column/split",
        "earlier split",
    ),
    csv("mapping to nothing", table(*DAYS), "/columns/y", "'z'", columns='{"y":"z"}'),
    csv("mapping of the unknown", table(*DAYS), "/columns/target", "'target'", columns='{"target":"y"}'),
    csv("mapping twice", table(*DAYS), "/columns/ds", "more than one", columns='{"ds":"y","y":"y"}'),
    csv("declared as Parquet", table(*DAYS), "/file", "Parquet", format="parquet"),
    csv("declared as JSON Lines", table(*DAYS), "/file/row/1", "JSON", format="jsonl"),
    csv(
        "infinite covariate", table(b"1,2024-01-01,inf\n", head=b"y,ds,x\n"), "/row/2/column/x", "not finite"
    ),
]
JSONL = [
    jsonl("not JSON", lines(item(), b'{"item_id": "b", '), "/file/row/2", "column 17"),
    jsonl("an array", lines([item(), item()]), "/file/row/1", "an array"),
    jsonl("a number a line", lines(item(), 7), "/file/row/2", "a number"),
    jsonl("pretty-printed", json.dumps(item(), indent=2).encode(), "/file/row/1", "JSON"),
    jsonl("nested too deeply", lines(b'{"target":' + b"[" * 200_000), "/file/row/1", "nested"),
    jsonl("field twice", lines(b'{"start":1,"freq":1,"target":[1],"freq":1}'), "/file/row/1", "twice"),
    jsonl("Infinity", lines(b'{"start":1,"freq":1,"target":[1,Infinity]}'), "/file/row/1", "Infinity"),
    jsonl(
        "overflowing number", lines(b'{"start":1,"freq":1,"target":[1,1e999]}'), "/column/target", "beyond"
    ),
    jsonl(
        "5,000 digits",
        lines(b'{"start":1,"freq":1,"target":[' + b"1" * 5000 + b"]}"),
        "/file/row/1",
        "digits",
    ),
    jsonl("huge integer", lines(item(target=[1, 10**400])), "/file/row/1/column/target", "beyond"),
    jsonl("text in the target", lines(item(target=[1, "two", 3])), "/column/target", "Value 1 is 'two'"),
    jsonl("truth in the target", lines(item(target=[1, True])), "/column/target", "Value 1"),
    jsonl("nested target", lines(item(target=[[1, 2], [3, 4]])), "/column/target", "Value 0"),
    jsonl("target missing", lines({"start": 0, "freq": 1}), "/file/row/1/column/target", "array"),
    jsonl("target empty", lines(item(target=[])), "/file/row/1/column/target", "empty"),
    jsonl("freq missing", lines({"start": 0, "target": [1]}), "/file/row/1/column/freq", "missing"),
    jsonl("freq unknown", lines(item(freq="fortnight")), "/file/row/1/column/freq", "'fortnight'"),
    jsonl("freq mixed", lines(item(), item(item_id="b", freq="h")), "/file/row/2/column/freq", "Mixed"),
    jsonl("start missing", lines({"freq": "D", "target": [1]}), "/file/row/1/column/start", "missing"),
    jsonl("start no date", lines(item(start="soon")), "/file/row/1/column/start", "'soon'"),
    jsonl("start no integer", lines(item(freq=1)), "/file/row/1/column/start", "integer"),
    jsonl("id twice", lines(item(), item()), "/file/row/2/column/item_id", "Duplicate"),
    jsonl("id no text", lines(item(item_id=["a"])), "/file/row/1/column/item_id", "no id"),
    jsonl(
        "cat uneven",
        lines(item(cat=["x"]), item(item_id="b", cat=[])),
        "/file/row/2/column/cat",
        "Expected 1",
    ),
    jsonl("cat no list", lines(item(cat="x")), "/file/row/1/column/cat", "array"),
    jsonl("feature too short", lines(item(dynamic_feat=[[1, 2]])), "/column/dynamic_feat", "as long"),
    jsonl(
        "features uneven",
        lines(item(), item(item_id="b", dynamic_feat=[[1] * 4])),
        "/file/row/2/column/dynamic_feat",
        "Expected 0",
    ),
    jsonl("feature flat", lines(item(dynamic_feat=[1, 2, 3, 4])), "/column/dynamic_feat", "array"),
    jsonl("split unknown", lines(item(split="dev")), "/file/row/1/column/split", "'dev'"),
    jsonl("neither rows nor series", lines({"day": "2024-01-01", "y": 1}), "/file/row/1/column/ds", "day"),
    jsonl("one row", lines({"ds": "2024-01-01", "y": 1}), "/file/column/ds", "frequency"),
    jsonl("a row with an array", lines({"ds": "2024-01-01", "y": [1]}), "/file/row/1/column/y", "an array"),
]
PARQUET = [
    parq("cut off", GOOD_PARQUET[:-20], "/file", "complete"),
    parq("magic only", b"PAR1PAR1", "/file", "complete"),
    parq("footer too large", GOOD_PARQUET[:-8] + b"\xff\xff\xff\x7fPAR1", "/file", "complete"),
    parq("rubbish inside", flipped(GOOD_PARQUET), "/file", "damaged"),
    parq(
        "no rows",
        parquet(ds=pa.array([], pa.date32()), y=pa.array([], pa.float64())),
        "/file/row/1",
        "no rows",
    ),
    parq("too many columns", BOMB, "/file", "10,002 columns"),
    parq("nested", parquet(ds=STAMPS, y=[[1.0]] * 10), "/file/column/y", "list"),
    parq("binary", parquet(ds=STAMPS, y=[b"1"] * 10), "/file/column/y", "binary"),
    parq("column missing", parquet(ds=STAMPS, z=range(10)), "/file/row/1/column/y", "'y'"),
    parq("infinity", parquet(ds=STAMPS, y=[1.0] * 9 + [float("inf")]), "/file/row/10/column/y", "not finite"),
    parq("null time", parquet(ds=[*STAMPS[:9], None], y=range(10)), "/file/row/10/column/ds", "missing"),
    parq("text for a number", parquet(ds=STAMPS, y=["1"] * 9 + ["x"]), "/file/row/10/column/y", "'x'"),
    parq("dates for numbers", parquet(ds=STAMPS, y=STAMPS), "/file/row/1/column/y", "not a number"),
]
OTHER = [
    Malformed("zip", "data.csv", b"PK\x03\x04" + bytes(40), {}, "/format", "csv, parquet, jsonl"),
    Malformed("gzip damaged", "data.csv.gz", b"\x1f\x8b\x08" + bytes(40), {}, "/file", "damaged"),
    Malformed("gzip cut off", "data.csv.gz", gzip.compress(table(*DAYS))[:-20], {}, "/file", "cut off"),
    Malformed("gzip of Parquet", "d.parquet.gz", gzip.compress(GOOD_PARQUET), {}, "/file", "unpack it once"),
    Malformed("gzip of gzip", "d.gz", gzip.compress(gzip.compress(HEAD)), {}, "/file", "unpack it once"),
    Malformed("gzip bomb", "d.csv.gz", gzip.compress(HEAD + bytes(1 << 23)), {}, "/file", "200 times"),
    Malformed("old Excel", "data.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), {}, "/file", "Excel"),
    Malformed("web page", "data.csv", b"<!DOCTYPE html><html>", {}, "/file", "web page"),
    Malformed("Parquet declared as CSV", "d.csv", GOOD_PARQUET, {"format": "csv"}, "/format", "Parquet"),
    Malformed(
        "unknown format", "data.csv", table(*DAYS), {"format": "xlsx"}, "/format", "csv, parquet, jsonl"
    ),
]
MALFORMED = [*CSV, *JSONL, *PARQUET, *OTHER]
