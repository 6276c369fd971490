"""Scripts that are written without spaces between words, such as Chinese, Japanese and Thai.

Neither `re` nor the `tokenizers` library knows words of these scripts. Each of their characters counts as a
word, with the marks that are written above or below it, as in Unicode Standard Annex 29.
"""

import unicodedata

RANGES = (
    (0x0E01, 0x0E4E),  # Thai; digits, here and below, make numbers as in other scripts
    (0x0E81, 0x0ECF),  # Lao
    (0x0EDC, 0x0EDF),
    (0x1000, 0x103F),  # Myanmar
    (0x1050, 0x108F),
    (0x109A, 0x109D),
    (0xA9E0, 0xA9EF),
    (0xA9FA, 0xA9FE),
    (0xAA60, 0xAA7F),
    (0x1780, 0x17D3),  # Khmer
    (0x17D7, 0x17D7),
    (0x17DC, 0x17DD),
    (0x1950, 0x1974),  # Tai Le
    (0x1980, 0x19C9),  # New Tai Lue
    (0x1A20, 0x1A7F),  # Tai Tham
    (0xAA80, 0xAADF),  # Tai Viet
    (0x3041, 0x30FF),  # Hiragana and Katakana
    (0x31F0, 0x31FF),
    (0xFF66, 0xFF9F),
    (0x1AFF0, 0x1B16F),
    (0x3105, 0x312F),  # Bopomofo
    (0x31A0, 0x31BF),
    (0xA000, 0xA48C),  # Yi
    (0x2E80, 0x2FD5),  # Han
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3038, 0x303B),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
VARIATION_SELECTORS = "\ufe00-\ufe0f"


def _marks() -> str:
    """All combining marks of these scripts."""
    small = (range(first, last + 1) for first, last in RANGES if last - first < 1_000)
    return "".join(
        chr(code) for codes in small for code in codes if unicodedata.category(chr(code)).startswith("M")
    )


UNSPACED = "".join(f"{chr(first)}-{chr(last)}" for first, last in RANGES)  # for use within [] of a pattern
CHARACTER = f"[{UNSPACED}][{_marks()}{VARIATION_SELECTORS}]*"  # one of these scripts, as a pattern
OTHER_WORD = rf"[^\W{UNSPACED}]+"  # a run of letters and digits of all other scripts
