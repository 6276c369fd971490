"""The error of media that cannot be used."""


class MediaError(ValueError):
    """What is wrong with a file; the message is a predicate that follows the file's name."""
