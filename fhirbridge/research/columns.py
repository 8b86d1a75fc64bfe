"""What a column of a dataset is: its name, its meaning, where it comes from, and what may stand in it.

Everything that is said about a column is said here once: the Parquet schema, the data dictionary, the documentation,
the ViewDefinitions and the leak check are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

# Closed: a column of no class does not exist. None of them holds free text.
Class: TypeAlias = Literal[
    "pseudonym",  # a keyed name made for one project: 20 characters of base32
    "code",  # a word of a vocabulary, or a code of a code system
    "number",  # a measured number
    "integer",  # a count or a number in a row
    "offset",  # a span of time since a dose
    "shifted-time",  # a moment, moved by the patient's shift
    "year",  # a calendar year
    "band",  # a value made coarse: an age band, three digits of a postcode
    "boolean",  # yes or no
]
_ARROW: dict[str, str] = {
    "pseudonym": "string",
    "code": "dictionary",
    "number": "double",
    "integer": "int32",
    "offset": "double",
    "shifted-time": "timestamp",
    "year": "int32",
    "band": "dictionary",
    "boolean": "bool",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of one table.

    ``source`` are the paths in the record that it is made of; ``unit`` is a UCUM code, where the column has one unit;
    ``vocabulary`` are all words that may stand in a ``code`` or ``band`` column, ``None`` for codes of code systems,
    which have no white space and at most 64 characters; ``quasi`` says that it counts among the quasi-identifiers of
    the k-anonymity report; ``computed`` that it is made of more than one record, or counted, so that no view of a
    single resource can show it.
    """

    name: str
    meaning: str
    class_: Class
    source: tuple[str, ...] = ()
    unit: str | None = None
    vocabulary: tuple[str, ...] | None = None
    quasi: bool = False
    computed: bool = False

    @property
    def type(self) -> str:
        """The column's type: string, dictionary (of strings), double, int32, bool, or timestamp (microseconds in UTC,
        without saying so)."""
        return _ARROW[self.class_]


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table: its name, what a row is, and its columns in order.

    ``key`` are the columns that together tell one row from every other, in the order in which rows are sorted.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    def column(self, name: str) -> Column:
        """The column of a name. Raises ``KeyError``."""
        for one in self.columns:
            if one.name == name:
                return one
        raise KeyError(name)


# The word for what somebody else's codes say and the record's words do not.
OTHER = "other"


def words_of(literal: Any, *, without: tuple[str, ...] = (), open_: bool = False) -> tuple[str, ...]:
    """The words of a ``Literal`` of a record model, which are a column's vocabulary.

    ``without`` are those that never reach a dataset; ``open_`` adds ``other``, where a record may hold a concept of
    somebody else's in place of a word.
    """
    words = tuple(word for word in literal.__args__ if word not in without)
    return (*words, OTHER) if open_ and OTHER not in words else words
