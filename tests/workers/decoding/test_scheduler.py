"""Continuous batching: who comes joins, who ends leaves, and everybody finds what they find alone."""

from typing import Any

import numpy as np
import pytest

from app.typedefs import Json
from tests.support.fakes.steppers import Babbler, Interpreter, column
from workers.decoding import scheduler
from workers.decoding.sampling import Sampler
from workers.decoding.scheduler import ContinuousBatch, decode_all
from workers.decoding.sequence import Decoder, DecodingSequence


def wish(seed: int = 0, **fields: Any) -> Json:
    return {"max_tokens": 12, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": seed, **fields}


def prompts(count: int, longest: int = 9, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [column(*rng.integers(4, 9, int(size)).tolist()) for size in rng.integers(1, longest + 1, count)]


def tokens(sequence: DecodingSequence) -> list[int]:
    assert isinstance(sequence.strategy, Sampler)
    return sequence.strategy.tokens


def finish(batch: ContinuousBatch) -> None:
    while batch:
        assert batch.prefill() or batch.step()


@pytest.mark.parametrize("rows", [1, 3, 256])
def test_together_everybody_finds_what_they_find_alone(rows: int) -> None:
    asked = prompts(30)
    searches = [
        wish(seed, max_tokens=1 + seed % 14, top_p=0.8 if seed % 3 else 1.0, top_k=seed % 4)
        for seed in range(30)
    ]
    network = Babbler()
    together = decode_all(Decoder(network), asked, searches, rows)
    assert max(network.steps) <= rows
    for prompt, search, found in zip(asked, searches, together, strict=True):
        (alone,) = decode_all(Decoder(Babbler()), [prompt], [search])
        assert (alone.tokens.tolist(), alone.note) == (found.tokens.tolist(), found.note)


def test_tokens_are_those_that_follow_their_own_past() -> None:
    network = Babbler(sharpness=3.0)
    prompt = column(4, 5, 6)
    (found,) = decode_all(Decoder(network), [prompt], [wish(temperature=0.0)])
    past = [4, 5, 6]
    for token in found.tokens.tolist():
        logits = network.logits(past)
        logits[:3] = -np.inf
        assert token == logits.argmax()
        past.append(token)


def test_nothing_to_decode_is_nothing_found() -> None:
    assert decode_all(Decoder(Babbler()), [], []) == []


def test_who_comes_later_joins_at_the_next_step() -> None:
    network = Babbler()
    batch = ContinuousBatch(network)
    first, second = DecodingSequence(column(4), wish(1)), DecodingSequence(column(5, 6), wish(2))
    batch.add(first)
    assert batch.prefill()
    assert len(tokens(first)) == 1  # at once: nobody else has to step first
    batch.step()
    batch.add(second)
    assert batch.prefill()
    batch.step()
    assert network.steps == [1, 2]
    assert (len(tokens(first)), len(tokens(second))) == (3, 2)
    finish(batch)
    for sequence, prompt in ((first, column(4)), (second, column(5, 6))):
        (alone,) = decode_all(Decoder(Babbler()), [prompt], [wish(1 if sequence is first else 2)])
        assert tokens(sequence) == alone.tokens.tolist()


def test_a_long_prompt_is_read_in_pieces_between_the_others_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "CHUNK_TOKENS", 8)
    network = Babbler()
    batch = ContinuousBatch(network)
    live = DecodingSequence(column(4), wish(1, max_tokens=100))
    long = DecodingSequence(column(*[5, 6] * 20), wish(2))
    batch.add(live)
    batch.prefill()
    batch.add(long)
    before = len(tokens(live))
    pieces = 0
    while long.prefilled < len(long.inputs):
        assert batch.prefill()
        batch.step()
        pieces += 1
    assert pieces == 5
    assert network.reads[1:] == [(1, 8)] * 5
    assert len(tokens(live)) == before + 5
    finish(batch)
    (alone,) = decode_all(Decoder(Babbler()), [column(*[5, 6] * 20)], [wish(2)])
    assert tokens(long) == alone.tokens.tolist()


def test_short_prompts_do_not_wait_for_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "MIN_PREFILL_TOKENS", 16)
    monkeypatch.setattr(scheduler, "MAX_PREFILL_TOKENS", 16)
    batch = ContinuousBatch(Babbler())
    long = DecodingSequence(column(*[5] * 400), wish(1))
    short = [DecodingSequence(column(4, 5), wish(seed)) for seed in range(2, 8)]
    for sequence in (long, *short):
        batch.add(sequence)
    reads = 0
    while any(sequence.prefilled < len(sequence.inputs) for sequence in short):
        assert batch.prefill()
        batch.step()
        reads += 1
    assert reads <= 4  # two at once, the long one in turn
    assert 0 < long.prefilled < 40


def test_what_is_read_at_once_is_bounded_by_how_long_it_takes() -> None:
    network = Babbler()
    batch = ContinuousBatch(network)
    for seed in range(50):
        batch.add(DecodingSequence(column(*[4] * 100), wish(seed)))
    batch._token_seconds = scheduler.PREFILL_SECONDS / 100
    batch.prefill()
    assert network.reads == [(12, 8)]
    batch._token_seconds = scheduler.PREFILL_SECONDS / 640
    batch.prefill()
    assert network.reads[1:] == [(32, 20)]


def test_sources_are_read_whole_as_many_as_do_not_take_long() -> None:
    read: list[tuple[int, ...]] = []

    class Watched(Interpreter):
        def prefill(self, inputs: Any, lengths: Any, carried: Any) -> Any:
            read.append(inputs.shape[:2])
            return super().prefill(inputs, lengths, carried)

    batch = ContinuousBatch(Watched())
    for size in (400, 10, 20, 30, 50):
        batch.add(DecodingSequence(column(*[4] * size), {"beam_size": 2, "max_tokens": 3}))
    for _ in range(3):
        batch._token_seconds = scheduler.PREFILL_SECONDS / 100
        batch.prefill()
    assert read == [(1, 400), (3, 30), (1, 50)]


def test_who_is_dropped_leaves_the_others_as_they_were() -> None:
    batch = ContinuousBatch(Babbler())
    sequences = [DecodingSequence(prompt, wish(seed)) for seed, prompt in enumerate(prompts(6))]
    for sequence in sequences:
        batch.add(sequence)
    while batch.prefill():
        pass
    batch.step()
    waiting = DecodingSequence(column(4), wish(9))
    batch.add(waiting)
    batch.remove([sequences[0], sequences[3], waiting])
    finish(batch)
    for place, (sequence, prompt) in enumerate(zip(sequences, prompts(6), strict=True)):
        (alone,) = decode_all(Decoder(Babbler()), [prompt], [wish(place)])
        if place in (0, 3):
            assert sequence.result is None or sequence.result.tokens.tolist() == alone.tokens.tolist()
        else:
            assert tokens(sequence) == alone.tokens.tolist()
    assert waiting.result is None


def test_beams_of_others_may_be_dropped_too() -> None:
    network = Interpreter()
    how: Json = {"beam_size": 3, "max_tokens": 8}
    sources = [column(4, 5), column(6), column(5, 5, 4, 6)]
    batch = ContinuousBatch(network)
    sequences = [DecodingSequence(source, how) for source in sources]
    for sequence in sequences:
        batch.add(sequence)
    batch.prefill()
    batch.step()
    batch.step()
    batch.remove(sequences[1:2])
    finish(batch)
    for sequence, source in ((sequences[0], sources[0]), (sequences[2], sources[2])):
        (alone,) = decode_all(Decoder(Interpreter()), [source], [how])
        assert sequence.result is not None
        assert sequence.result.tokens.tolist() == alone.tokens.tolist()


def test_rows_are_kept_for_beams_that_will_grow() -> None:
    network = Interpreter()
    batch = ContinuousBatch(network, rows=10)
    for _ in range(5):
        batch.add(DecodingSequence(column(4, 5, 6), {"beam_size": 4, "max_tokens": 6}))
    batch.prefill()
    assert batch.free_rows == 2
    assert not batch.prefill()
    finish(batch)
    assert max(network.steps) <= 8
    wide = DecodingSequence(column(4), {"beam_size": 40, "max_tokens": 6})
    batch.add(wide)
    finish(batch)  # wider than all room, it goes alone
    assert wide.result is not None


def test_what_was_computed_is_counted() -> None:
    now = 100.0
    batch = ContinuousBatch(Babbler(), clock=lambda: now)
    sequences = [DecodingSequence(column(4), wish(seed, max_tokens=5)) for seed in range(3)]
    batch.add(sequences[0])
    batch.prefill()
    batch.step()
    assert (batch.usage.passes, batch.usage.sequences) == (2, 2)
    now = 200.0
    for sequence in sequences[1:]:
        batch.add(sequence)
    batch.prefill()
    batch.step()
    assert (batch.usage.passes, batch.usage.sequences) == (4, 7)
    assert batch.usage.seconds > 0
    begun = [sequence.started for sequence in sequences]
    assert [one.at for one in begun if one is not None] == [100.0, 200.0, 200.0]
    assert [one.passes for one in begun if one is not None] == [0, 2, 2]


def test_what_has_ended_before_it_began_is_not_computed() -> None:
    network = Babbler()
    (found,) = decode_all(Decoder(network), [column(4)], [wish(max_tokens=2, begun=[5, 6])])
    assert found.tokens.tolist() == [5, 6]
    assert network.reads == []


@pytest.mark.parametrize("count", [1, 7])
def test_what_has_begun_goes_on_to_the_same_end(count: int) -> None:
    (whole,) = decode_all(Decoder(Babbler()), [column(4, 5)], [wish(3)])
    begun = whole.tokens[:count].tolist()
    (resumed,) = decode_all(Decoder(Babbler()), [column(4, 5)], [wish(3, begun=begun)])
    assert resumed.tokens.tolist() == whole.tokens.tolist()
    assert resumed.note == whole.note
