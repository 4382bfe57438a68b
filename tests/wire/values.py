"""Any answers, entries and news, including those that validation would refuse."""

from datetime import UTC, datetime
from functools import cache
from string import Formatter
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec import Struct, structs

from chatserver.values.errors import Sentence, Why
from chatserver.wire.sentences import SENTENCES

CONTROL = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of characters that must not reach a terminal."""

TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
NUMBERS = st.integers(0, 2**53)
LENGTHS = ("text", "lines", "password_least")
"""Limits that are told to people."""


def fields(template: str) -> set[tuple[str, str]]:
    """The fields of a sentence, each with how it is formatted."""
    return {(name, spec or "") for _, name, spec, _ in Formatter().parse(template) if name is not None}


@cache
def sentences(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Sentence]:
    """Any sentence, with any texts in it."""
    return st.one_of(
        [
            st.builds(
                Sentence,
                st.just(key),
                **{name: NUMBERS if (name, "s") in fields(template) else texts for name, _ in fields(template)},
            )
            for key, template in SENTENCES.items()
        ]
    )


def values(kind: Any, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Any value of one of the types in `answers` and `events`."""
    args = get_args(kind)
    if get_origin(kind) is Literal:
        return st.sampled_from(args)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: texts, int: NUMBERS, bool: st.booleans(), datetime: TIMES, Why: st.sampled_from(Why),
        Sentence: sentences(texts), NoneType: st.none(),
    }  # fmt: skip
    if kind in plain:
        return plain[kind]
    if get_origin(kind) in (Union, UnionType):
        return st.one_of([values(arg, texts) for arg in args])
    if get_origin(kind) is list:
        return st.lists(values(args[0], texts), max_size=3)
    if get_origin(kind) is tuple and args[-1] is ...:
        return st.lists(values(args[0], texts), max_size=3).map(tuple)
    if get_origin(kind) is tuple:
        return st.tuples(*(values(arg, texts) for arg in args))
    if kind == dict[str, int]:
        return st.fixed_dictionaries(dict.fromkeys(LENGTHS, NUMBERS))
    if get_origin(kind) is dict:
        return st.dictionaries(texts, texts, max_size=3)
    assert issubclass(kind, Struct)
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name], texts) for field in structs.fields(kind)})


HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(["* x", "\n* forged", "\r\n! forged", "\r[x] 10:00 y: z", "/me \n* x", "\x1b[2J", "\u2028* x",
                     "\x85* x",
                     "\x9b2J", "\ud800"]),
)  # fmt: skip
CLEAN = st.text(st.characters(exclude_categories=["Cc", "Cs"]))
