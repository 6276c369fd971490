"""The examples of a data set as instances."""

from app.tasks.shared.ragged import Texts
from app.tasks.translation.options import TranslationInstance


class TranslationInstances:
    """The sources of a data set as instances, each made when it is requested."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> TranslationInstance:
        return TranslationInstance(self._texts[index])
