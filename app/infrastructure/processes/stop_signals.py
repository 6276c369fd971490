"""What a server does when it is told to stop, before it waits for its requests to end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def before_stopping(call: Callable[[], object]) -> Iterator[None]:
    """Call on each signal that ends this process, and then what handled it before.

    Nothing happens outside of the main thread, where no signal can be handled.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[signal.Signals, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        call()
        if callable(former := previous[signal.Signals(number)]):
            former(number, frame)

    for number in STOP_SIGNALS:
        if callable(signal.getsignal(number)):  # nothing to call afterwards: the process is to end at once
            previous[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)
