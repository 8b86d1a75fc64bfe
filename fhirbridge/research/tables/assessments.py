"""``assessments``: one row for each rating; ``assessment_items``: one for each of its items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirbridge.records import Assessment
from fhirbridge.records.vitals import Mode, Scale
from fhirbridge.research.columns import Column, TableShape, words_of
from fhirbridge.research.tables import common
from fhirbridge.research.tables.seen import Seen, measured
from fhirbridge.research.tables.values import coding_of, name_in, number, word

_SCALE = Column("scale", "Which scale", "code", ("scale",), vocabulary=words_of(Scale, open_=True))
_ASSESSMENT = Column("assessment", "The rating", "pseudonym", ("id",))

SHAPE = TableShape(
    "assessments",
    "One row for each rating scale or monitoring score",
    (
        common.PATIENT,
        _ASSESSMENT,
        common.SESSION,
        _SCALE,
        Column(
            "scale_code",
            "First code of a scale that the records have no word for",
            "code",
            ("scale.codings[0].code",),
            computed=True,
        ),
        Column("score", "Total score", "number", ("score",), "{score}"),
        Column("comparator", "Where the true score lies", "code", ("comparator",), vocabulary=common.COMPARATORS),
        common.ABSENT,
        *common.MEASURED,
        Column("mode", "How it was given", "code", ("administration_mode",), vocabulary=words_of(Mode)),
        common.INTERPRETATION,
        Column("items", "How many items were answered", "integer", ("items",), computed=True),
    ),
    ("patient", "assessment"),
)

ITEMS = TableShape(
    "assessment_items",
    "One row for each item of a rating",
    (
        common.PATIENT,
        _ASSESSMENT,
        _SCALE,
        Column("item", "Item id, never the wording of the question", "code", ("items[].item",)),
        Column("value", "Points", "number", ("items[].value",), "{score}"),
        Column("answer", "First code of a coded answer", "code", ("items[].answer.codings[0].code",)),
        Column(
            "absent_reason",
            "Why there is no answer",
            "code",
            ("items[].absent_reason",),
            vocabulary=common.ABSENT.vocabulary,
        ),
    ),
    ("patient", "assessment", "item"),
)


def row(record: Assessment, seen: Seen) -> tuple[Any, ...]:
    """The row of a de-identified rating."""
    fields = record.__dict__
    scale, given = fields["scale"], fields["interpretation"]
    session = name_in(fields["session"])
    coding = coding_of(scale)
    return (
        seen.patient,
        fields["id"],
        session,
        word(scale),
        None if coding is None else coding.code,
        number(fields["score"]),
        fields["comparator"],
        word(fields["absent_reason"]),
        *measured(fields, session, seen),
        fields["administration_mode"],
        word(given[0]) if given else None,
        sum(one.absent_reason is None for one in fields["items"]),
    )


def items(record: Assessment, seen: Seen) -> Iterator[tuple[Any, ...]]:
    """The rows of a rating's items."""
    scale = word(record.scale)
    for one in record.items:
        coding = coding_of(one.answer)
        answer = None if coding is None else coding.code
        yield seen.patient, record.id, scale, one.item, number(one.value), answer, word(one.absent_reason)
