"""The view of AdverseEvents: ``adverse_events``."""

from __future__ import annotations

from collections.abc import Callable

from fhirbridge.fhir.json import Tree
from fhirbridge.research.columns import OTHER
from fhirbridge.research.tables import adverse_events
from fhirbridge.research.views.parts import Select, coded, column, columns, union, when, words
from fhirbridge.research.views.probes import Probes, extension

_GRADES = range(1, 6)
_ASSESSMENT = "suspectEntity.causality.first().assessment.first()"


def adverse_events_view(probes: Probes) -> Select:
    """The view of the table ``adverse_events``, as far as one resource tells it in R4."""
    rich = probes.resource(
        "adverse_event",
        record_status="in_progress",
        onset_offset={"value": 1, "unit": "min"},
        resolved_at="2026-01-02",
        meddra={"version": "27.0"},
        ctcae={"version": "5.0"},
        expectedness={"value": "expected"},
        discontinued_study=True,
        grade=1,
        actions=[{"taken": "unknown"}],
    )
    url = {one["url"].rpartition("/")[2]: one["url"] for one in rich["extension"]}
    expected = f"extension('{url['expectedness']}').extension('value').value.ofType(CodeableConcept)"
    offset = f"extension('{url['offset-from-dose']}').value.ofType(Duration).where(code = 'min').value"
    grade = f"extension('{url['ae-grade']}').value.ofType(CodeableConcept)"
    meddra = f"extension('{url['meddra']}')"
    return {
        "select": [
            columns(
                column("patient", "subject.getReferenceKey(Patient)", "id"),
                column("event", "identifier.value"),
                column("session", "suspectEntity.instance.where(type = 'Procedure').identifier.value.first()"),
                column("actuality", "actuality", "code"),
                column("onset", "date", "dateTime"),
                column("resolved_at", f"extension('{url['resolve-date']}').value.ofType(dateTime)", "dateTime"),
                column("onset_minute", offset, "decimal"),
                column("discontinued_study", _simple(url["caused-subject-to-discontinue-study"], "boolean"), "boolean"),
                column("meddra_version", f"{meddra}.extension('version').value.ofType(string)"),
                *(
                    column(f"meddra_{level}", f"{meddra}.extension('{level}').value.ofType(Coding).code", "code")
                    for level in ("llt", "pt", "soc")
                ),
                column("ctcae_version", f"extension('{url['ctcae']}').extension('version').value.ofType(string)"),
            ),
            _words(probes, "term", lambda word: {"term": word}, "event", lambda one: one["event"]),
            _words(probes, "severity", lambda word: {"severity": word}, "severity", lambda one: one["severity"]),
            _words(probes, "outcome", lambda word: {"outcome": word}, "outcome", lambda one: one["outcome"]),
            _words(
                probes,
                "expectedness",
                lambda word: {"expectedness": {"value": word}},
                expected,
                lambda one: extension(one, "expectedness")["extension"][0]["valueCodeableConcept"],
            ),
            _words(
                probes,
                "causality",
                lambda word: {"suspects": [{**_SUSPECT, "causality": [{"assessment": word}]}]},
                _ASSESSMENT,
                lambda one: one["suspectEntity"][0]["causality"][0]["assessment"],
            ),
            _grades(probes, grade),
            _serious(probes),
        ]
    }


_SUSPECT: Tree = {"instance": {"type": "Procedure", "identifier": {"system": "https://probe.example", "value": "p"}}}


def _words(
    probes: Probes, name: str, fields: Callable[[str], Tree], path: str, concept: Callable[[Tree], Tree]
) -> Select:
    declared = adverse_events.SHAPE.column(name)
    found = probes.conditions(
        [word for word in declared.vocabulary or () if word != OTHER],
        lambda word: probes.resource("adverse_event", **fields(word)),
        lambda one: coded(path, concept(one)),
    )
    is_open = OTHER in (declared.vocabulary or ())
    return words(name, found, other=f"{path}.exists()" if is_open else None)


def _grades(probes: Probes, path: str) -> Select:
    conditions = {
        number: coded(
            path, extension(probes.resource("adverse_event", grade=number), "ae-grade")["valueCodeableConcept"]
        )
        for number in _GRADES
    }
    known = " or ".join(f"({condition})" for condition in conditions.values())
    return union(
        *(when(condition, column("grade", str(number), "integer")) for number, condition in conditions.items()),
        when(f"({known}).not()", column("grade", "'none'.where(false)", "integer")),
    )


def _serious(probes: Probes) -> Select:
    yes, no = (
        coded("seriousness", probes.resource("adverse_event", serious=said)["seriousness"]) for said in (True, False)
    )
    return union(
        when(yes, column("serious", "true", "boolean")),
        when(no, column("serious", "false", "boolean")),
        when(f"(({yes}) or ({no})).not()", column("serious", "'none'.where(false)", "boolean")),
    )


def _simple(url: str, type_: str) -> str:
    return f"extension('{url}').value.ofType({type_})"
