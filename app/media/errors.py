"""What is wrong with a media file, or with its decoding."""

from app.errors import Unavailable


class MediaError(ValueError):
    """A file that is not decoded; the message is a predicate, such as "is not audio: it is a PNG image"."""


class DecoderLost(Unavailable):
    """The process that decodes media files was ended, which says nothing of the file; try again shortly."""
