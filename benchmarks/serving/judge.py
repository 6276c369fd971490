"""Whether answers are right, and what a measurement comes to."""

import math
import statistics

import msgspec
import orjson

from benchmarks.serving.orders import Corpus, Order, Report

TOLERANCE = 1e-4


class Finished(msgspec.Struct, gc=False):
    """A request that ended within the measurement; status 0 when no answer came."""

    index: int  # of its body
    seconds: float
    status: int
    body: bytes


def right(body: bytes, expected: list[float]) -> bool:
    """Whether an answer's numbers are those of its own request."""
    try:
        found = orjson.loads(body)
        (tensor,) = found["outputs"] if isinstance(found, dict) else found  # BentoML answers a bare list
        pairs = zip(tensor["data"], expected, strict=True)
        return all(abs(ours - theirs) <= TOLERANCE for ours, theirs in pairs)
    except (ValueError, KeyError, TypeError):
        return False


def judge(order: Order, corpus: Corpus, finished: list[Finished], cpu: float) -> Report:
    """Compare every answer with what is expected of its request, and summarize."""
    good: list[Finished] = []
    errors, wrong, fault = 0, 0, ""
    for one in finished:
        if one.status != 200:
            errors += 1
        elif not right(one.body, corpus.outputs[one.index]):
            wrong += 1
        else:
            good.append(one)
            continue
        fault = fault or f"{one.status} {one.body[:200].decode(errors='replace')}"
    taken = [1000 * one.seconds for one in good]
    middle, late = percentiles(taken)
    steps = sum(corpus.steps[one.index] for one in good) / order.seconds
    return Report(len(good), errors, wrong, len(good) / order.seconds, steps, middle, late, cpu, fault)


def percentiles(values: list[float]) -> tuple[float, float]:
    """The 50th and the 99th; NaN of none."""
    if len(values) < 2:
        return (values * 2)[0] if values else math.nan, values[0] if values else math.nan
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]
