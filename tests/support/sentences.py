"""Sentences that tests make up, and the text of any."""

from chatserver.values.errors import Note, Sentence
from chatserver.wire.sentences import english


def written(text: str) -> Sentence:
    return Sentence(Note.AS_WRITTEN, text=text)


def shown(sentence: Sentence | str | None) -> str:
    return english(sentence) if isinstance(sentence, Sentence) else sentence or ""
