import re
import unicodedata

import pytest

from app.tasks.classification.baseline import WORD_OR_SIGN
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import TokenUnit, train_tokenizer

TEXTS = {
    "这部电影很好看": "这 部 电 影 很 好 看",
    "我有3部iPhone，还有𠮷。": "我 有 3 部 iPhone ， 还 有 𠮷 。",
    "ラーメンを食べる人々": "ラ ー メ ン を 食 べ る 人 々",
    "ﾗｰﾒﾝ": "ﾗ ｰ ﾒ ﾝ",
    "น้ำดี ๒๕๖๓": "น้ ำ ดี ๒๕๖๓",
    "ភាសា": "ភា សា",
    "좋은 영화": "좋은 영화",
    "ein schöner Film!": "ein schöner Film !",
    "вот и всё": "вот и всё",
}


@pytest.mark.parametrize("text", TEXTS)
def test_the_network_and_the_baseline_read_the_same_words(text: str) -> None:
    words = TEXTS[text].split()
    assert re.findall(WORD_OR_SIGN, text) == words
    tokenizer = train_tokenizer([text], TokenUnit.WORD, 100, split_unspaced=True)
    assert [text[begin:end] for begin, end in tokenizers.encode(tokenizer, text).spans] == words


def test_words_keep_apostrophes_and_hyphens() -> None:
    tokenizer = train_tokenizer(["don't re-read"], TokenUnit.WORD, 100, split_unspaced=True)
    assert len(tokenizers.encode(tokenizer, "don't re-read").ids) == 2


def test_other_tokens_are_as_before() -> None:
    text = "这部电影 is good"
    before = train_tokenizer([text], TokenUnit.WORD, 100)
    assert [text[begin:end] for begin, end in tokenizers.encode(before, text).spans] == text.split()
    for unit in (TokenUnit.BPE, TokenUnit.CHARACTER):
        assert train_tokenizer([text], unit, 300, split_unspaced=True) == train_tokenizer([text], unit, 300)


def test_normal_forms_are_of_one_script() -> None:
    assert unicodedata.normalize("NFC", "か\u3099") == "が"
    assert re.findall(WORD_OR_SIGN, "か\u3099") == ["か\u3099"]
