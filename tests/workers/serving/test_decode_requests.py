"""Requests that are decoded step by step: parts, ends, refusals, deadlines, and what they cost."""

import logging
from typing import Any

import numpy as np
import pytest

from app.lanes import Reply, Request, Status, Tensor
from app.tasks.generation.detokenizer import Streamed
from app.typedefs import Json
from tests.steppers import Babbler, Interpreter, column
from workers.decoding.scheduler import decode_all
from workers.decoding.sequence import Decoder, Quest
from workers.serving import decode_requests
from workers.serving.decode_requests import Sessions

NOW = 1000.0


def wish(seed: int = 0, **fields: Any) -> Json:
    return {"max_tokens": 12, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": seed, **fields}


def request(number: int, *searches: Json, parts: bool = False, **fields: Any) -> Request:
    instances = [Tensor.of(column(4, 5, 4 + place)) for place in range(len(searches))]
    told = {"reply": "me", "sent": NOW - 0.5, "deadline": NOW + 5, "artifact": "a/1", **fields}
    return Request(id=number, instances=instances, search=list(searches), parts=parts, **told)


class Desk:
    """Sessions, their clock, and what they said."""

    def __init__(self, network: Any = None, watch: Any = None) -> None:
        self.now = NOW
        self.sessions = Sessions("boot", lambda: self.now)
        self.decoder = Decoder(network or Babbler(), *([watch] if watch else []))
        self.said: list[Reply] = []

    def add(self, *requests: Request) -> list[Reply]:
        replies = [reply for _, reply in self.sessions.add(requests, self.decoder)]
        assert len(replies) == len(requests)
        return replies

    def turn(self) -> list[Reply]:
        said = [reply for replies in self.sessions.turn() for _, reply in replies]
        self.said += said
        return said

    def finish(self) -> list[Reply]:
        while self.sessions:
            self.turn()
        return self.said


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass a turn, and every token in a part of its own."""
    monkeypatch.setattr(decode_requests, "TURN_SECONDS", -1.0)
    monkeypatch.setattr(decode_requests, "PART_SECONDS", 0.0)


def alone(place: int, search: Json, network: Any = None) -> Any:
    (found,) = decode_all(Decoder(network or Babbler()), [column(4, 5, 4 + place)], [search])
    return found


def test_an_answer_has_all_tokens_and_why_they_end() -> None:
    desk = Desk()
    searches = [wish(1), wish(2, max_tokens=3)]
    (taken,) = desk.add(request(7, *searches))
    assert (taken.id, taken.status, taken.outputs) == (7, Status.PART, [])
    assert taken.decoded is not None
    assert (taken.decoded.by, taken.decoded.starts) == ("boot", [])
    (reply,) = desk.finish()
    assert (reply.id, reply.status) == (7, Status.OK)
    assert reply.decoded is not None
    for place, search in enumerate(searches):
        found = alone(place, search)
        assert reply.outputs[place].array().tolist() == found.tokens.tolist()
        assert reply.decoded.notes[place] == found.note
    assert reply.queue_seconds == pytest.approx(0.5)


def test_parts_are_the_answer_piece_by_piece(slow: None) -> None:
    desk = Desk()
    desk.add(request(7, wish(1), wish(2, max_tokens=3), parts=True))
    *parts, reply = desk.finish()
    assert len(parts) > 5
    tokens: list[list[int]] = [[], []]
    ends: list[list[Json]] = [[], []]
    for part in parts:
        assert (part.status, part.id) == (Status.PART, 7)
        assert part.decoded is not None
        assert part.decoded.starts == [len(some) for some in tokens]
        for place, output in enumerate(part.outputs):
            tokens[place] += output.array().tolist()
            if part.decoded.notes[place]:
                ends[place].append(part.decoded.notes[place])
    assert reply.decoded is not None
    longer = max(range(2), key=lambda place: len(reply.outputs[place].array()))
    for place in range(2):
        whole = reply.outputs[place].array().tolist()
        assert tokens[place] == whole[: len(tokens[place])]
        assert ends[place] == ([] if place == longer else [reply.decoded.notes[place]])
    assert tokens[1 - longer] == reply.outputs[1 - longer].array().tolist()


def test_the_first_part_leaves_at_once_and_the_next_ones_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_requests, "PART_SECONDS", 1000.0)
    desk = Desk(Babbler(endless=True))
    desk.add(request(7, wish(1, max_tokens=400), parts=True))
    first, reply = desk.finish()
    assert len(first.outputs[0].array()) == 1
    assert len(reply.outputs[0].array()) > 1


def test_without_a_wish_for_parts_there_are_none(slow: None) -> None:
    desk = Desk()
    desk.add(request(7, wish(1)))
    assert [reply.status for reply in desk.finish()] == [Status.OK]


def test_a_late_comer_is_answered_before_a_long_one_ends(slow: None) -> None:
    desk = Desk(Babbler(endless=True))
    desk.add(request(1, wish(5, max_tokens=300)))
    for _ in range(3):
        desk.turn()
    desk.add(request(2, wish(6, max_tokens=2)))
    assert [reply.id for _ in range(2) for reply in desk.turn()] == [2]
    assert len(desk.sessions) == 1


def test_what_nobody_waits_for_is_forgotten(slow: None) -> None:
    desk = Desk(Babbler(endless=True))
    desk.add(request(1, wish(5, max_tokens=300)), request(2, wish(6, max_tokens=40)))
    desk.turn()
    desk.sessions.drop([("me", 1), ("me", 99), ("other", 2)])
    assert len(desk.sessions) == 1
    (reply,) = desk.finish()
    assert reply.id == 2
    assert (
        reply.outputs[0].array().tolist()
        == alone(0, wish(6, max_tokens=40), Babbler(endless=True)).tokens.tolist()
    )


def test_a_request_that_comes_twice_is_decoded_once(slow: None) -> None:
    network = Babbler(endless=True)
    desk = Desk(network)
    desk.add(request(1, wish(5, max_tokens=30)))
    desk.turn()
    desk.add(request(1, wish(5, max_tokens=30)))
    (reply,) = desk.finish()
    assert (
        reply.outputs[0].array().tolist()
        == alone(0, wish(5, max_tokens=30), Babbler(endless=True)).tokens.tolist()
    )
    assert max(network.steps) == 1


def test_a_deadline_ends_it(slow: None) -> None:
    desk = Desk(Babbler(endless=True))
    desk.add(request(1, wish(5, max_tokens=300)), request(2, wish(5, max_tokens=300), deadline=NOW + 50))
    desk.turn()
    desk.now = NOW + 5
    (reply,) = desk.turn()
    assert (reply.id, reply.status) == (1, Status.EXPIRED)
    assert len(desk.sessions) == 1


def test_a_step_that_fails_fails_its_own_version_only(caplog: pytest.LogCaptureFixture, slow: None) -> None:
    desk, other = Desk(Babbler(endless=True)), Decoder(Babbler())
    desk.add(request(1, wish(5)), request(2, wish(6)))
    desk.sessions.add([request(3, wish(1))], other)
    desk.decoder.stepper.broken = True  # type: ignore[attr-defined]
    with caplog.at_level(logging.CRITICAL):
        replies = sorted(desk.finish(), key=lambda reply: reply.id)
    assert [(reply.id, reply.status) for reply in replies] == [
        (1, Status.ERROR),
        (2, Status.ERROR),
        (3, Status.OK),
    ]
    assert "no such kernel" in replies[0].message
    desk.decoder.stepper.broken = False  # type: ignore[attr-defined]
    desk.add(request(4, wish(5)))
    assert desk.finish()[-1].status is Status.OK


BAD: dict[str, Request] = {
    "a search too few": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(column(4))] * 2, [wish()]),
    "floats": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(np.ones((2, 1), np.float32))], [wish()]),
    "no steps": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(np.ones(3, np.int64))], [wish()]),
    "no bound": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(column(4))], [{"temperature": 1.0}]),
    "an odd bound": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor.of(column(4))], [{"max_tokens": "many"}]),
    "other bytes": Request(1, "me", NOW, NOW + 5, "a/1", [Tensor((3, 1), memoryview(b"abcd"), 1)], [wish()]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_decoded_is_refused(case: str) -> None:
    desk = Desk()
    (reply,) = desk.add(BAD[case])
    assert reply.status is Status.ERROR
    assert reply.message
    assert not desk.sessions


def test_a_version_that_answers_at_once_takes_no_search() -> None:
    ((to, reply),) = Sessions("boot").add([request(1, wish())], None)
    assert (to, reply.status) == ("me", Status.ERROR)
    assert "at once" in reply.message


def test_a_request_of_nothing_is_answered_with_nothing() -> None:
    desk = Desk()
    desk.add(request(1))
    (reply,) = desk.finish()
    assert (reply.status, reply.outputs, reply.batch) == (Status.OK, [], 0)


def test_what_has_begun_is_not_told_again_in_the_numbers_of_tokens(slow: None) -> None:
    whole = alone(0, wish(3, max_tokens=10), Babbler(endless=True)).tokens.tolist()
    desk = Desk(Babbler(endless=True))
    desk.add(request(1, wish(3, max_tokens=10, begun=whole[:4]), parts=True))
    first, *_, reply = desk.finish()
    assert first.decoded is not None
    assert (first.decoded.starts, first.outputs[0].array().tolist()) == ([4], [whole[4]])
    assert reply.outputs[0].array().tolist() == whole


def test_a_beam_is_told_when_it_is_found(slow: None) -> None:
    desk = Desk(Interpreter())
    desk.add(request(1, {"beam_size": 3, "max_tokens": 6, "attention": True}, parts=True))
    (reply,) = desk.finish()
    assert reply.decoded is not None
    assert reply.decoded.notes[0].keys() == {"score", "finish_reason", "attention"}


def test_a_stop_string_ends_it() -> None:
    spelled = [b"", b"", b"", b"", b"a", b"b", b"c", b"d", b"e"]
    desk = Desk(watch=lambda search: Streamed(spelled, search["stop"]) if search.get("stop") else None)
    desk.add(request(1, wish(4, max_tokens=200, stop=["ab", "d"])))
    (reply,) = desk.finish()
    assert reply.decoded is not None
    told = Streamed(spelled, ["ab", "d"])
    text = told.push(reply.outputs[0].array().tolist())
    assert told.ended == (reply.decoded.notes[0] == {"finish_reason": "stop"})
    assert "ab" not in text


def test_passes_are_counted_so_that_one_of_them_can_be_priced(slow: None) -> None:
    """What comes next waits for a pass, not for the end of what is under way."""
    desk = Desk(Babbler(endless=True))
    desk.add(*[request(number, wish(number, max_tokens=20)) for number in range(8)])
    replies = [reply for reply in desk.finish() if reply.status is Status.OK]
    assert len(replies) == 8
    for reply in replies:
        assert reply.decoded is not None
        tokens = len(reply.outputs[0].array())
        assert tokens <= reply.decoded.steps <= tokens + 3
        assert 1 <= reply.batch <= 8
    longest = max(replies, key=lambda reply: len(reply.outputs[0].array()))
    assert longest.decoded is not None
    assert 0 < longest.compute_seconds / longest.decoded.steps < longest.compute_seconds / 5


def test_a_reloaded_version_gets_a_crowd_of_its_own(slow: None) -> None:
    desk = Desk(Babbler(endless=True))
    desk.add(request(1, wish(1, max_tokens=30)))
    desk.turn()
    desk.decoder = Decoder(Babbler(endless=True))
    desk.add(request(2, wish(1, max_tokens=30)))
    replies = desk.finish()
    assert replies[0].outputs[0].array().tolist() == replies[1].outputs[0].array().tolist()


def test_a_turn_takes_some_steps_but_not_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_requests, "TURN_SECONDS", 0.01)
    network = Babbler(endless=True)
    desk = Desk(network)
    desk.add(request(1, wish(1, max_tokens=100_000)))
    desk.turn()
    assert 2 < len(network.steps) < 2000
    assert desk.sessions


def test_a_quest_reads_on_from_what_has_begun() -> None:
    quest = Quest(column(4, 5), wish(begun=[6, 7]))
    assert quest.inputs.tolist() == [[4], [5], [6], [7]]
