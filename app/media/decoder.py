"""Decodes media files; a stand-in that decodes in this process."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from app.media.limits import MediaLimits
from app.typedefs import Json


class MediaDecoder:
    """Decodes files of the kind "midi" in this process."""

    def __init__(self, limits: MediaLimits | None = None) -> None:
        self._limits = limits or MediaLimits()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def decode(self, kind: str, content: bytes, options: Json) -> dict[str, Any]:
        """What the kind's decoder makes of a file."""
        decode: Callable[..., dict[str, Any]] = getattr(import_module(f"app.media.{kind}"), f"decode_{kind}")
        return decode(content, self._limits, **options)


@cache
def process_decoder() -> MediaDecoder:
    """The decoder of this process."""
    return MediaDecoder()
