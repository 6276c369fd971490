"""What is wrong with a media file."""


class MediaError(ValueError):
    """A file that is not decoded; the message is a predicate, such as "is not audio: it is a PNG image"."""
