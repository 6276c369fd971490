"""What texts in requests look like: a regular expression for the schema, and the same in words for people."""

PROJECT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
DEVICE_PATTERN = r"^(auto|cpu|cuda(:(0|[1-9][0-9]?))?)$"
MODEL_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
ALIAS_NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9._-]{0,63}$"
PAGE_URL_PATTERN = (
    r"^(|:[0-9]{1,5}|https?://[^\s/?#]+(/[^\s?#]*)?)$"  # a port alone is at the host that was called
)
HOST_NAME_PATTERN = r"^(\*|(\*\.)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,252})$"
WEBHOOK_HOST_PATTERN = r"^([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(:[1-9][0-9]{0,4})?$"

PATTERNS_IN_WORDS = {
    PROJECT_PATTERN: "1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter or a digit",
    DEVICE_PATTERN: "auto, cpu, cuda, or cuda: with a number",
    MODEL_NAME_PATTERN: "1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter or a digit",
    ALIAS_NAME_PATTERN: "1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter",
}
