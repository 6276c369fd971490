"""Whether answers are right, and what a measurement comes to."""

import statistics
from typing import Any

import msgspec
import orjson

from benchmarks.serving.generator.messages import Corpus, Expected, Order, Report

TOLERANCE = 1e-4


class Finished(msgspec.Struct, gc=False):
    """A request that ended within the measurement; status 0 when no answer came."""

    index: int  # of its body
    seconds: float
    status: int
    body: bytes


def right(body: bytes, expected: Expected) -> bool:
    """Whether an answer is that of its own request."""
    try:
        result = orjson.loads(body)
        if isinstance(expected, dict):
            (prediction,) = result["predictions"]
            return alike(prediction, expected)
        (tensor,) = result["outputs"] if isinstance(result, dict) else result  # BentoML answers a bare list
        pairs = zip(tensor["data"], expected, strict=True)
        return all(abs(ours - theirs) <= TOLERANCE for ours, theirs in pairs)
    except (ValueError, KeyError, TypeError):
        return False


def alike(result: Any, expected: Any) -> bool:
    """Whether two JSON values are the same but for rounding."""
    match expected:
        case float():
            return isinstance(result, float) and abs(result - expected) <= TOLERANCE
        case dict():
            same = isinstance(result, dict) and result.keys() == expected.keys()
            return same and all(alike(result[name], value) for name, value in expected.items())
        case list():
            same = isinstance(result, list) and len(result) == len(expected)
            return same and all(map(alike, result, expected))
    return type(result) is type(expected) and bool(result == expected)


def judge(order: Order, corpus: Corpus, finished: list[Finished], cpu: float) -> Report:
    """Compare every answer with what is expected of its request, and summarize."""
    good: list[Finished] = []
    errors, refused, wrong, fault = 0, 0, 0, ""
    for one in finished:
        if one.status != 200:
            errors += 1
            refused += one.status == 429
        elif not right(one.body, corpus.outputs[one.index]):
            wrong += 1
        else:
            good.append(one)
            continue
        fault = fault or f"{one.status} {one.body[:200].decode(errors='replace')}"
    taken = [1000 * one.seconds for one in good]
    middle, late = percentiles(taken)
    steps = sum(corpus.steps[one.index] for one in good) / order.seconds
    rate = len(good) / order.seconds
    return Report(len(good), errors, wrong, rate, steps, middle, late, cpu, fault, refused)


def percentiles(values: list[float]) -> tuple[float, float]:
    """The 50th and the 99th; 0 of none: NaN is no JSON."""
    if len(values) < 2:
        return (values * 2)[0] if values else 0.0, values[0] if values else 0.0
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]
