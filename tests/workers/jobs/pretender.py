"""A training child for the supervisor's tests: it trains nothing and misbehaves as its argument says."""

import hashlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def send(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def point(request: dict[str, Any], step: int) -> None:
    content = b"state after step %d" % step
    directory = Path(request["checkpoint_dir"])
    directory.mkdir(exist_ok=True)
    path = directory / f"{step:012d}-{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    send(type="checkpoint", step=step, bytes=len(content), file=path.name)


def main() -> None:
    request = json.loads(sys.stdin.readline())
    behaviour = sys.argv[1]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    send(
        type="progress",
        fraction=0.5,
        epoch=1,
        epochs=2,
        step=5,
        steps=10,
        eta_seconds=1.0,
        samples_per_second=9.0,
    )
    send(type="epoch", epoch=1, train_loss=0.5, valid_loss=0.6)
    behave(request, behaviour, stop)


def behave(request: dict[str, Any], behaviour: str, stop: threading.Event) -> None:  # noqa: C901, PLR0912
    if behaviour == "talks":
        line = {"at": "2026-01-31T09:30:00.500Z", "level": "warning", "logger": "x", "message": "gap in s1"}
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.write(f"{Path(__file__)}: plain words\n")
    if behaviour == "chatters":
        sys.stderr.writelines(f"line {number}\n" for number in range(5_000))
    if behaviour in {"talks", "chatters"}:
        raise SystemExit(1)
    if behaviour == "slow":
        stop.wait(1.5)
    if behaviour in {"done", "slow"}:
        out = Path(request["out_dir"])
        (out / "manifest.json").write_text(
            json.dumps(
                {
                    "state": {},
                    "device": request["spec"]["training"]["device"],
                    "limits": request["media_limits"],
                }
            )
        )
        (out / "model.onnx").write_bytes(b"graph")
        send(type="warning", message="careful")
        send(type="done", metrics={"smape": 1.0}, baseline={"smape": 2.0}, parameters=7)
    elif behaviour == "fail":
        send(type="failed", code="diverged", message="The loss is not finite")
    elif behaviour == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "gluttony":
        food = []
        while True:
            food.append(b"x" * (16 << 20))
    elif behaviour == "noise":
        sys.stdout.write("what a library prints\n")
        send(type="failed", code="diverged", message="after noise")
    elif behaviour == "flaky":
        send(type="failed", code="internal", message="KeyError: 'x'.")
    elif behaviour == "points":  # a checkpoint after each of three steps, the last one when it is stopped
        for step in (1, 2):
            point(request, step)
        if request["resume"] is not None:
            send(type="log", message="resumed from " + Path(request["resume"]).name)
        stop.wait(60)
        point(request, 3)
        send(type="stopped")
    elif behaviour == "patient":
        stop.wait(60)
        send(type="stopped")
    elif behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Event().wait(60)


main()
