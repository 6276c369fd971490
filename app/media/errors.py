"""What a decoder says of a file that it cannot decode."""


class MediaError(ValueError):
    """A file cannot be decoded; the message is a predicate that follows the file's name.

    Such as "is not audio: it is a PNG image".
    """
