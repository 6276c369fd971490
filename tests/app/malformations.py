"""Files that nobody can use, for every task: one table each."""

from tests.app import (
    malformed_classification,
    malformed_generation,
    malformed_tagging,
    malformed_translation,
)
from tests.app.malformed import MALFORMED

TABLES = (
    MALFORMED,
    malformed_classification.MALFORMED,
    malformed_generation.MALFORMED,
    malformed_tagging.MALFORMED,
    malformed_translation.MALFORMED,
)
