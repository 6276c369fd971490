"""Files that cannot be used: one table for each task."""

from tests.app import (
    malformed_classification,
    malformed_generation,
    malformed_music,
    malformed_speech,
    malformed_tagging,
    malformed_translation,
)
from tests.app.malformed import MALFORMED

TABLES = (
    MALFORMED,
    malformed_classification.MALFORMED,
    malformed_generation.MALFORMED,
    malformed_music.MALFORMED,
    malformed_speech.MALFORMED,
    malformed_tagging.MALFORMED,
    malformed_translation.MALFORMED,
)
