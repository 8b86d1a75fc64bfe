"""Adverse events in which every field is generated, all of them expressible in every release."""

from __future__ import annotations

from hypothesis import strategies as st

from fhirbridge.records import adverse_event as model
from tests.strategies import base as b
from tests.strategies.session import either, not_empty, words

_staff = b.refs(*model.CONTRIBUTORS)
_others = b.refs("Patient", "RelatedPerson", "Organization", "ResearchSubject")
_items = st.one_of(b.concepts, b.refs("Procedure", "MedicationAdministration", "DocumentReference"))
_unnamed = st.builds(lambda code: {"display": code}, b.codes)
_coded = b.some(b.codings).map(lambda codings: {"codings": codings})

causalities = not_empty(
    {
        "assessment": st.one_of(words(model.CausalityAssessment), _coded),
        "relatedness": words(model.Relatedness),
        "relatedness_text": st.one_of(b.words, st.sampled_from(["certain", "related"])),
        "method": either(model.CausalityMethod),
        "author": b.practitioners,
    }
)
_instances = st.one_of(
    b.refs("Procedure", "MedicationAdministration", "Medication", "Substance", "Device").map(
        lambda ref: {"instance": ref}
    ),
    b.concepts.map(lambda drug: {"drug": drug}),
)
suspects = st.builds(
    lambda instance, causality: instance | ({"causality": causality} if causality else {}),
    _instances,
    st.lists(causalities, max_size=3),
)
participants = st.one_of(
    b.tree({"actor": st.one_of(_staff, _others, _unnamed), "function": either(model.ParticipantFunction)}, {}),
    b.tree({"actor": _others}, {}),
)
actions = st.one_of(
    b.tree({"taken": words(model.ActionTaken)}, {"text": b.words}),
    b.concepts.map(lambda treatment: {"treatment": treatment}),
    b.refs("MedicationAdministration", "Procedure").map(lambda given: {"given": given}),
)
ctcae = not_empty({"version": b.words, "term": b.concepts, "grade": st.integers(1, 5)})
meddra = not_empty({"version": b.words, "llt": b.codings, "pt": b.codings, "soc": b.codings})
reports = not_empty({"authority": b.concepts, "submitted_at": b.date_times, "number": b.identifiers, "status": b.codes})
expected = b.tree({"value": either(model.Expectedness)}, {"reference": b.words})
NESTED = {
    "suspects": (model.Suspect, suspects),
    "causality": (model.Causality, causalities),
    "participants": (model.Participant, participants),
    "actions": (model.Action, actions),
    "ctcae": (model.Ctcae, ctcae),
    "meddra": (model.Meddra, meddra),
    "regulatory_reports": (model.RegulatoryReport, reports),
    "expectedness": (model.Expected, expected),
}
OPTIONAL: dict[str, st.SearchStrategy[object]] = {
    **b.RECORD_OPTIONAL,
    "term": words(model.EventTerm),
    "codings": b.some(b.codings),
    "meddra": meddra,
    "categories": b.some(either(model.MishapCategory)),
    "onset_offset": b.offsets,
    "detected_at": b.date_times,
    "recorded_at": b.date_times,
    "recorded_by": b.practitioners,
    "contributors": b.some(st.one_of(_staff, _unnamed)),
    "participants": b.some(participants),
    "location": b.refs("Location"),
    "severity": words(model.Severity),
    "outcome": words(model.EventOutcome),
    "expectedness": expected,
    "expected_in_study": b.booleans,
    "actions": b.some(actions),
    "dechallenge": b.concepts,
    "rechallenge": b.concepts,
    "preventive_actions": b.some(b.concepts),
    "resulting_conditions": b.some(st.one_of(b.refs("Condition"), _unnamed)),
    "resulting_findings": b.some(b.refs("Observation")),
    "medical_history": b.some(b.refs("Condition", "AllergyIntolerance")),
    "documents": b.some(b.refs("DocumentReference")),
    "supporting_info": b.some(_items),
    "contributing_factors": b.some(_items),
    "studies": b.some(b.refs("ResearchStudy")),
    "discontinued_study": b.booleans,
    "regulatory_reports": b.some(reports),
    "special_interest": st.lists(words(model.SpecialInterest), min_size=1, max_size=3, unique=True),
}


def distinct(trees: list[b.Tree], *members: str) -> list[b.Tree]:
    """The trees that differ in the given members from all others before them."""
    keys = [[tree.get(name) for name in members] for tree in trees]
    return [tree for position, tree in enumerate(trees) if keys[position] not in keys[:position]]


_suspects = st.lists(suspects, max_size=3).map(lambda found: distinct(found, "instance", "drug"))
_criteria = st.lists(either(model.SeriousnessCriterion), max_size=4, unique_by=repr)


def _serious(serious: bool | None, criteria: list[object], met: int) -> b.Tree:
    tree: b.Tree = {} if serious is None else {"serious": serious}
    met = met if serious else 0
    return tree | {"seriousness_criteria": criteria[:met], "criteria_ruled_out": criteria[met:]}


_seriousness = st.builds(_serious, st.sampled_from([None, False, True, True]), _criteria, st.integers(0, 4))
_grades = st.one_of(
    st.just({}),
    st.integers(1, 5).map(lambda grade: {"grade": grade}),
    ctcae.map(lambda found: {"ctcae": found}),
    ctcae.map(lambda found: {"ctcae": found, "grade": found.get("grade", 3)}),
)
_times: st.SearchStrategy[b.Tree] = st.one_of(
    st.just({}),
    b.spans().map(lambda span: {"onset": span[0], "resolved_at": span[1]}),
    b.date_times.map(lambda time: {"onset": time}),
    b.date_times.map(lambda time: {"resolved_at": time}),
    b.date_times.map(lambda time: {"onset": time, "resolved_at": time}),
)
adverse_events = st.builds(
    lambda record, times, seriousness, grades, found: {
        name: value
        for name, value in (record | times | seriousness | grades | {"suspects": found}).items()
        if value != []
    },
    b.tree(
        {
            **b.RECORD_REQUIRED,
            "record_status": words(model.EventStatus),
            "actuality": st.sampled_from(["actual", "potential"]),
            "verbatim": b.words,
        },
        OPTIONAL,
    ),
    _times,
    _seriousness,
    _grades,
    _suspects,
)
