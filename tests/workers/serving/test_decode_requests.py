"""Requests that are decoded step by step: partial replies, ends, refusals, deadlines, and their cost."""

import logging
from typing import Any

import numpy as np
import pytest

from app.lanes import Reply, ReplyStatus, Request, Tensor
from app.tasks.generation.detokenizer import TextDetokenizer
from app.typedefs import Json
from tests.support.fakes.steppers import Babbler, Interpreter, column
from workers.decoding.scheduler import decode_all
from workers.decoding.sequence import Decoder, DecodingSequence
from workers.serving import decode_requests
from workers.serving.decode_requests import DecodeRequests

NOW = 1000.0


def sampling(seed: int = 0, **fields: Any) -> Json:
    return {"max_tokens": 12, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": seed, **fields}


def request(number: int, *settings: Json, stream: bool = False, **fields: Any) -> Request:
    instances = [Tensor.of(column(4, 5, 4 + index)) for index in range(len(settings))]
    fields = {"reply_to": "me", "sent": NOW - 0.5, "deadline": NOW + 5, "artifact": "a/1", **fields}
    return Request(id=number, instances=instances, decoding=list(settings), stream=stream, **fields)


class Workbench:
    """Requests being decoded, their clock, and their replies."""

    def __init__(self, network: Any = None, stop_criteria: Any = None) -> None:
        self.now = NOW
        self.requests = DecodeRequests("instance", lambda: self.now)
        self.decoder = Decoder(network or Babbler(), *([stop_criteria] if stop_criteria else []))
        self.replies: list[Reply] = []

    def add(self, *requests: Request) -> list[Reply]:
        replies = [reply for _, reply in self.requests.add(requests, self.decoder)]
        assert len(replies) == len(requests)
        return replies

    def advance(self) -> list[Reply]:
        replies = [reply for replies in self.requests.advance() for _, reply in replies]
        self.replies += replies
        return replies

    def finish(self) -> list[Reply]:
        while self.requests:
            self.advance()
        return self.replies


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass for each call of `advance`, and every token in a partial reply of its own."""
    monkeypatch.setattr(decode_requests, "TURN_SECONDS", -1.0)
    monkeypatch.setattr(decode_requests, "PARTIAL_REPLY_SECONDS", 0.0)


def decode_alone(index: int, settings: Json, network: Any = None) -> Any:
    (result,) = decode_all(Decoder(network or Babbler()), [column(4, 5, 4 + index)], [settings])
    return result


def test_an_answer_has_all_tokens_and_why_they_end() -> None:
    bench = Workbench()
    settings = [sampling(1), sampling(2, max_tokens=3)]
    (ack,) = bench.add(request(7, *settings))
    assert (ack.id, ack.status, ack.outputs) == (7, ReplyStatus.PARTIAL, [])
    assert ack.decoded is not None
    assert (ack.decoded.instance_id, ack.decoded.starts) == ("instance", [])
    (reply,) = bench.finish()
    assert (reply.id, reply.status) == (7, ReplyStatus.OK)
    assert reply.decoded is not None
    for index, one in enumerate(settings):
        alone = decode_alone(index, one)
        assert reply.outputs[index].array().tolist() == alone.tokens.tolist()
        assert reply.decoded.notes[index] == alone.note
    assert reply.queue_seconds == pytest.approx(0.5)


def test_partial_replies_add_up_to_the_answer(slow: None) -> None:
    bench = Workbench()
    bench.add(request(7, sampling(1), sampling(2, max_tokens=3), stream=True))
    *parts, reply = bench.finish()
    assert len(parts) > 5
    tokens: list[list[int]] = [[], []]
    ends: list[list[Json]] = [[], []]
    for part in parts:
        assert (part.status, part.id) == (ReplyStatus.PARTIAL, 7)
        assert part.decoded is not None
        assert part.decoded.starts == [len(some) for some in tokens]
        for index, output in enumerate(part.outputs):
            tokens[index] += output.array().tolist()
            if part.decoded.notes[index]:
                ends[index].append(part.decoded.notes[index])
    assert reply.decoded is not None
    longer = max(range(2), key=lambda index: len(reply.outputs[index].array()))
    for index in range(2):
        whole = reply.outputs[index].array().tolist()
        assert tokens[index] == whole[: len(tokens[index])]
        assert ends[index] == ([] if index == longer else [reply.decoded.notes[index]])
    assert tokens[1 - longer] == reply.outputs[1 - longer].array().tolist()


def test_the_first_partial_reply_is_sent_at_once_and_the_next_ones_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode_requests, "PARTIAL_REPLY_SECONDS", 1000.0)
    bench = Workbench(Babbler(endless=True))
    bench.add(request(7, sampling(1, max_tokens=400), stream=True))
    first, reply = bench.finish()
    assert len(first.outputs[0].array()) == 1
    assert len(reply.outputs[0].array()) > 1


def test_without_streaming_there_are_no_partial_replies(slow: None) -> None:
    bench = Workbench()
    bench.add(request(7, sampling(1)))
    assert [reply.status for reply in bench.finish()] == [ReplyStatus.OK]


def test_a_later_request_is_answered_before_a_long_one_ends(slow: None) -> None:
    bench = Workbench(Babbler(endless=True))
    bench.add(request(1, sampling(5, max_tokens=300)))
    for _ in range(3):
        bench.advance()
    bench.add(request(2, sampling(6, max_tokens=2)))
    assert [reply.id for _ in range(2) for reply in bench.advance()] == [2]
    assert len(bench.requests) == 1


def test_dropped_requests_are_not_decoded_on(slow: None) -> None:
    bench = Workbench(Babbler(endless=True))
    bench.add(request(1, sampling(5, max_tokens=300)), request(2, sampling(6, max_tokens=40)))
    bench.advance()
    bench.requests.drop([("me", 1), ("me", 99), ("other", 2)])
    assert len(bench.requests) == 1
    (reply,) = bench.finish()
    assert reply.id == 2
    assert (
        reply.outputs[0].array().tolist()
        == decode_alone(0, sampling(6, max_tokens=40), Babbler(endless=True)).tokens.tolist()
    )


def test_a_request_that_comes_twice_is_decoded_once(slow: None) -> None:
    network = Babbler(endless=True)
    bench = Workbench(network)
    bench.add(request(1, sampling(5, max_tokens=30)))
    bench.advance()
    bench.add(request(1, sampling(5, max_tokens=30)))
    (reply,) = bench.finish()
    assert (
        reply.outputs[0].array().tolist()
        == decode_alone(0, sampling(5, max_tokens=30), Babbler(endless=True)).tokens.tolist()
    )
    assert max(network.steps) == 1


def test_a_deadline_ends_it(slow: None) -> None:
    bench = Workbench(Babbler(endless=True))
    bench.add(
        request(1, sampling(5, max_tokens=300)), request(2, sampling(5, max_tokens=300), deadline=NOW + 50)
    )
    bench.advance()
    bench.now = NOW + 5
    (reply,) = bench.advance()
    assert (reply.id, reply.status) == (1, ReplyStatus.EXPIRED)
    assert len(bench.requests) == 1


def test_a_step_that_fails_fails_its_own_version_only(caplog: pytest.LogCaptureFixture, slow: None) -> None:
    bench, other = Workbench(Babbler(endless=True)), Decoder(Babbler())
    bench.add(request(1, sampling(5)), request(2, sampling(6)))
    bench.requests.add([request(3, sampling(1))], other)
    bench.decoder.model.broken = True  # type: ignore[attr-defined]
    with caplog.at_level(logging.CRITICAL):
        replies = sorted(bench.finish(), key=lambda reply: reply.id)
    assert [(reply.id, reply.status) for reply in replies] == [
        (1, ReplyStatus.ERROR),
        (2, ReplyStatus.ERROR),
        (3, ReplyStatus.OK),
    ]
    assert "no such kernel" in replies[0].message
    bench.decoder.model.broken = False  # type: ignore[attr-defined]
    bench.add(request(4, sampling(5)))
    assert bench.finish()[-1].status is ReplyStatus.OK


BAD: dict[str, Request] = {
    "settings for one instance too few": Request(
        1, "me", NOW, NOW + 5, "a/1", [Tensor.of(column(4))] * 2, [sampling()]
    ),
    "floats": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(np.ones((2, 1), np.float32))], [sampling()]),
    "no steps": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(np.ones(3, np.int64))], [sampling()]),
    "no bound": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(column(4))], [{"temperature": 1.0}]),
    "an odd bound": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(column(4))], [{"max_tokens": "many"}]),
    "other bytes": Request(
        1, "me", NOW, NOW + 5, "a/1", [Tensor((3, 1), memoryview(b"abcd"), 1)], [sampling()]
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_requests_that_cannot_be_decoded_are_refused(case: str) -> None:
    bench = Workbench()
    (reply,) = bench.add(BAD[case])
    assert reply.status is ReplyStatus.ERROR
    assert reply.message
    assert not bench.requests


def test_a_version_that_answers_at_once_takes_no_decoding_settings() -> None:
    ((to, reply),) = DecodeRequests("instance").add([request(1, sampling())], None)
    assert (to, reply.status) == ("me", ReplyStatus.ERROR)
    assert "at once" in reply.message


def test_a_request_of_nothing_is_answered_with_nothing() -> None:
    bench = Workbench()
    bench.add(request(1))
    (reply,) = bench.finish()
    assert (reply.status, reply.outputs, reply.batch) == (ReplyStatus.OK, [], 0)


def test_the_tokens_of_an_interrupted_request_are_not_sent_again(slow: None) -> None:
    whole = decode_alone(0, sampling(3, max_tokens=10), Babbler(endless=True)).tokens.tolist()
    bench = Workbench(Babbler(endless=True))
    bench.add(request(1, sampling(3, max_tokens=10, begun=whole[:4]), stream=True))
    first, *_, reply = bench.finish()
    assert first.decoded is not None
    assert (first.decoded.starts, first.outputs[0].array().tolist()) == ([4], [whole[4]])
    assert reply.outputs[0].array().tolist() == whole


def test_a_beam_search_has_no_partial_replies(slow: None) -> None:
    bench = Workbench(Interpreter())
    bench.add(request(1, {"beam_size": 3, "max_tokens": 6, "attention": True}, stream=True))
    (reply,) = bench.finish()
    assert reply.decoded is not None
    assert reply.decoded.notes[0].keys() == {"score", "finish_reason", "attention"}


def test_a_stop_string_ends_it() -> None:
    token_bytes = [b"", b"", b"", b"", b"a", b"b", b"c", b"d", b"e"]
    bench = Workbench(stop_criteria=lambda settings: TextDetokenizer(token_bytes, settings["stop"]))
    bench.add(request(1, sampling(4, max_tokens=200, stop=["ab", "d"])))
    (reply,) = bench.finish()
    assert reply.decoded is not None
    detokenizer = TextDetokenizer(token_bytes, ["ab", "d"])
    text = detokenizer.push(reply.outputs[0].array().tolist())
    assert detokenizer.ended == (reply.decoded.notes[0] == {"finish_reason": "stop"})
    assert "ab" not in text


def test_passes_are_counted_so_that_the_cost_of_one_is_known(slow: None) -> None:
    """The next request waits for one pass rather than for the end of those in progress."""
    bench = Workbench(Babbler(endless=True))
    bench.add(*[request(number, sampling(number, max_tokens=20)) for number in range(8)])
    replies = [reply for reply in bench.finish() if reply.status is ReplyStatus.OK]
    assert len(replies) == 8
    for reply in replies:
        assert reply.decoded is not None
        tokens = len(reply.outputs[0].array())
        assert tokens <= reply.decoded.steps <= tokens + 3
        assert 1 <= reply.batch <= 8
    longest = max(replies, key=lambda reply: len(reply.outputs[0].array()))
    assert longest.decoded is not None
    assert 0 < longest.compute_seconds / longest.decoded.steps < longest.compute_seconds / 5


def test_a_reloaded_version_gets_a_batch_of_its_own(slow: None) -> None:
    bench = Workbench(Babbler(endless=True))
    bench.add(request(1, sampling(1, max_tokens=30)))
    bench.advance()
    bench.decoder = Decoder(Babbler(endless=True))
    bench.add(request(2, sampling(1, max_tokens=30)))
    replies = bench.finish()
    assert replies[0].outputs[0].array().tolist() == replies[1].outputs[0].array().tolist()


def test_advance_takes_several_steps_but_not_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_requests, "TURN_SECONDS", 0.5)
    network = Babbler(endless=True)
    bench = Workbench(network)
    bench.add(request(1, sampling(1, max_tokens=100_000)))
    bench.advance()
    assert 2 < len(network.steps) < 100_000
    assert bench.requests


def test_a_sequence_continues_after_the_tokens_it_began_with() -> None:
    sequence = DecodingSequence(column(4, 5), sampling(begun=[6, 7]))
    assert sequence.inputs.tolist() == [[4], [5], [6], [7]]
