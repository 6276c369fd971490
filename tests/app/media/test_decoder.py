"""A file may kill, stop or fill the child: the caller gets an error, and the next file is decoded."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.infrastructure.processes.managed import is_alive
from app.media.decoder import MAX_DECODERS, DecoderPool, MediaDecoder, limit_decoding, process_decoder
from app.media.errors import DecoderLost, MediaError
from app.media.limits import MediaLimits
from tests.support.factories.recordings import RATE, tone, written
from tests.support.fixtures.processes import has_ended
from tests.support.fixtures.servers import until

TONE = written(tone())
# Two seconds of work for the decoder: an hour at a high rate.
LONG = MediaLimits(audio_seconds=4_000.0, seconds=30.0)


@pytest.fixture(scope="module")
def silence() -> bytes:
    return written(np.zeros((RATE * 3_600, 1)), RATE, "FLAC")


@pytest.mark.parametrize("signum", [signal.SIGSEGV, signal.SIGABRT])
def test_a_child_that_dies_is_an_error_and_is_replaced(silence: bytes, signum: int) -> None:
    with MediaDecoder(LONG) as decoder:
        decoder.decode("audio", TONE, {})
        child = decoder.pid
        assert child is not None
        threading.Timer(0.2, os.kill, (child, signum)).start()
        with pytest.raises(MediaError, match="could not be decoded"):
            decoder.decode("audio", silence, {"sample_rate": 300_000})
        assert not is_alive(child)
        assert decoder.decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)
        assert decoder.pid != child


def killed(decoder: MediaDecoder, signum: int, times: int) -> Callable[[], None]:
    """A function that waits until so many children of a decoder got a signal, each while it decoded."""

    def kill() -> None:
        last = None
        for _ in range(times):
            until(lambda last=last: decoder.pid not in (None, last), what="the next child")
            last = decoder.pid
            assert last is not None
            time.sleep(0.3)
            os.kill(last, signum)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread.join


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_child_that_is_ended_from_outside_says_nothing_of_the_file(silence: bytes, signum: int) -> None:
    with MediaDecoder(LONG) as decoder:
        wait = killed(decoder, signum, 1)
        assert decoder.decode("audio", silence, {"sample_rate": 2 * RATE})["seconds"] == pytest.approx(3_600)
        wait()
        decoder.close()
        wait = killed(decoder, signum, 2)
        with pytest.raises(DecoderLost) as lost:
            decoder.decode("audio", silence, {"sample_rate": 2 * RATE})
        wait()
        assert (lost.value.status, bool(lost.value.retry_after)) == (503, True)
        assert decoder.decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)


def test_a_child_that_cannot_be_started_says_nothing_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with MediaDecoder(LONG) as decoder:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(DecoderLost):
            decoder.decode("audio", TONE, {})
        monkeypatch.undo()
        assert decoder.decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)


def test_a_file_that_does_not_fit_into_the_child_needs_too_much_memory() -> None:
    with MediaDecoder(MediaLimits(memory_bytes=24 << 20)) as decoder:
        decoder.decode("audio", TONE, {})  # from then on it is confined
        with pytest.raises(MediaError, match="needs more than 24 MiB of memory"):
            decoder.decode("audio", bytes(64 << 20), {})
        assert decoder.decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)


def test_a_child_that_died_while_idle_is_no_error() -> None:
    with MediaDecoder() as decoder:
        decoder.decode("audio", TONE, {})
        assert decoder.pid is not None
        os.kill(decoder.pid, signal.SIGKILL)
        time.sleep(0.1)
        assert decoder.decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)


def test_time_and_memory_are_bounded(silence: bytes) -> None:
    with (
        MediaDecoder(MediaLimits(audio_seconds=4_000.0, seconds=0.0)) as hurried,
        pytest.raises(MediaError, match="could not be decoded in 0 seconds"),
    ):
        hurried.decode("audio", silence, {"sample_rate": 300_000})
    with MediaDecoder(MediaLimits(audio_seconds=4_000.0, memory_bytes=24 << 20)) as small:
        with pytest.raises(MediaError, match=r"memory|could not be decoded"):
            small.decode("audio", silence, {})
        assert small.decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)


def test_threads_may_share_a_decoder() -> None:
    lengths: list[float] = []
    with MediaDecoder() as decoder:
        threads = [
            threading.Thread(
                target=lambda: lengths.extend(decoder.decode("audio", TONE, {})["seconds"] for _ in range(5))
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert lengths == [pytest.approx(0.5)] * 20


def test_files_are_decoded_beside_each_other(silence: bytes) -> None:
    pool = DecoderPool(LONG)
    long = threading.Thread(target=pool.decode, args=("audio", silence, {"sample_rate": 2 * RATE}))
    try:
        pool.decode("audio", TONE, {})
        (first,) = pool.pids  # the others are not even started
        long.start()
        until(lambda: pool._idle.qsize() < MAX_DECODERS, what="the long file to be decoded", every=0.005)
        os.kill(first, signal.SIGSTOP)  # however long it takes
        for _ in range(3):
            assert pool.decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)
        assert long.is_alive()
        assert len(pool.pids) == MAX_DECODERS
        os.kill(first, signal.SIGCONT)
        long.join()
    finally:
        pool.close()
    assert not pool.pids


def test_a_forked_process_has_decoders_of_its_own() -> None:
    code = (
        "import os, sys; from app.media.decoder import DecoderPool, MAX_DECODERS; "
        "from app.media.limits import MediaLimits\n"
        "pool = DecoderPool(MediaLimits()); content = sys.stdin.buffer.read()\n"
        "busy = [pool._idle.get() for _ in range(MAX_DECODERS)]\n"
        "if child := os.fork(): os.waitpid(child, 0)\n"
        "else: print(pool.decode('audio', content, {})['seconds'], flush=True); pool.close(); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], input=TONE, capture_output=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert float(done.stdout) == pytest.approx(0.5)


def test_closing_ends_the_child_and_a_closed_decoder_starts_another() -> None:
    with MediaDecoder() as decoder:
        decoder.decode("audio", TONE, {})
        child = decoder.pid
    assert child is not None
    assert not is_alive(child)
    assert process_decoder() is process_decoder()


def test_a_process_keeps_to_its_limits_whoever_decodes() -> None:
    process_decoder().decode("audio", TONE, {})  # a child with other limits
    try:
        limit_decoding(MediaLimits(audio_seconds=0.25))
        with pytest.raises(MediaError, match=r"is longer than 0\.25 seconds"):
            process_decoder().decode("audio", TONE, {})
        with MediaDecoder() as decoder, pytest.raises(MediaError, match=r"is longer than 0\.25 seconds"):
            decoder.decode("audio", TONE, {})
        with MediaDecoder(LONG) as decoder:
            assert decoder.decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)
    finally:
        limit_decoding(MediaLimits())
    assert process_decoder().decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)


def test_a_file_that_is_too_large_is_not_even_sent_to_the_child() -> None:
    with MediaDecoder(MediaLimits(file_bytes=len(TONE) - 1)) as decoder:
        with pytest.raises(MediaError, match=f"has more than {len(TONE) - 1:,} bytes"):
            decoder.decode("audio", TONE, {})
        assert decoder.pid is None
    with MediaDecoder(MediaLimits(file_bytes=len(TONE))) as decoder:
        assert decoder.decode("audio", TONE, {})["seconds"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "end",
    [
        "os.kill(os.getpid(), 9)",  # an idle child sees the end of its pipe
        "os.kill(decoder.pid, signal.SIGSTOP); os.killpg(0, 9)",  # one that hangs is killed with the group
    ],
)
def test_a_child_ends_with_its_parent(tmp_path: Path, end: str) -> None:
    (tmp_path / "tone.wav").write_bytes(TONE)
    code = (
        "import os, signal, sys; from pathlib import Path; from app.media.decoder import MediaDecoder\n"
        "decoder = MediaDecoder(); decoder.decode('audio', Path(sys.argv[1]).read_bytes(), {})\n"
        f"print(decoder.pid, flush=True); {end}"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tone.wav")],
        cwd=root, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=True,
    )  # fmt: skip
    until(lambda: has_ended(int(done.stdout)), what="the end of the child")


def test_an_interrupt_from_the_terminal_is_not_for_the_child() -> None:
    with MediaDecoder() as decoder:
        decoder.decode("audio", TONE, {})
        child = decoder.pid
        assert child is not None
        os.kill(child, signal.SIGINT)
        decoder.decode("audio", TONE, {})
        assert decoder.pid == child
