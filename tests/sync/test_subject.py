"""What a decision looks at comes back from the ledger's text as it was, and the short way decides as the long one."""

from __future__ import annotations

import datetime as dt
import random

import msgspec
import pytest

from fhirbridge.binding import Binding
from fhirbridge.consent import NO_POLICIES, Act, Decider, subject_of
from fhirbridge.errors import LedgerError
from fhirbridge.ledger import Action, Asked, Consents, Server
from fhirbridge.mapping import Mappings, Part
from fhirbridge.records import Consent, Record
from fhirbridge.sources.lines import read_record
from fhirbridge.sync.evidence import of_record, read, with_newer
from fhirbridge.sync.gate import SiteGate
from fhirbridge.sync.identity import lane_of
from fhirbridge.sync.subject import Subjects, text_of
from fhirbridge.synth import Options, records
from tests.sync.consenting import KINDS, MODELS, signed

AT = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


def clinic_of(mappings: Mappings, patients: int = 6) -> list[tuple[Record, Part]]:
    """The resources of a small clinic with mixed consents."""
    models = {name: kind.record for name, kind in mappings.kinds.items()}
    found = (tree for tree in records(Options(patients, 3, sessions=1, vitals="rems")) if tree["kind"] in models)
    read_back = [read_record(tree, models)[0] for tree in found]
    return [(one, part) for one in read_back for part in mappings.to_fhir(one).parts]


def test_every_subject_comes_back_from_its_text(r4: Binding, r5: Binding) -> None:
    subjects = Subjects()
    for binding in (r4, r5):
        for record, part in clinic_of(Mappings(binding, KINDS)):
            text = text_of(record, part)
            state = record.state if isinstance(record, Consent) and part.role == "primary" else None
            assert subjects.read(record.kind, part.resource_type, text) == subject_of(
                part.resource, record.kind, state=state
            )


@pytest.mark.parametrize("text", ["x", "{}\n{}", '[[],[],[]]\n["2026"]'])
def test_a_text_that_nobody_wrote_is_an_error_and_no_answer(text: str) -> None:
    with pytest.raises(LedgerError, match="subject"):
        Subjects().read("session", "Procedure", text)


def test_the_gate_decides_as_the_consents_do_in_any_order_and_gives_one_answer_object_for_one_decision(
    r4: Binding,
) -> None:
    """Also where it leaves out what no rule looks at, and when it is asked again."""
    act = Act("share")
    resources = clinic_of(Mappings(r4, KINDS))
    key = r4.clinic.id_key
    gate = SiteGate(act, NO_POLICIES)
    chance = random.Random(1)  # noqa: S311
    patients = {lane_of(record.patient, key) for record, _ in resources}
    for patient in sorted(patients):
        theirs = [(record, part) for record, part in resources if lane_of(record.patient, key) == patient]
        found = [one for record, _ in theirs if (one := of_record(record, key)) is not None]
        consents = with_newer(Consents(patient, 1), found)
        assert not gate.knows(patient, 1)
        gate.learn(consents)
        decider = Decider(read(consents))
        chance.shuffle(theirs)
        asked = [_asked(record, part) for record, part in theirs]
        answers = gate.decide(patient, 1, asked, AT.timestamp())
        again = gate.decide(patient, 1, asked, AT.timestamp())
        assert all(one is two for one, two in zip(answers, again, strict=True) if one.permit)
        for (record, part), verdict in zip(theirs, answers, strict=True):
            state = record.state if isinstance(record, Consent) else None
            said = decider.judge(act, subject_of(part.resource, record.kind, state=state), AT)
            assert (verdict.permit, verdict.reason) == (said.permitted, said.reason)


def test_what_an_older_version_queued_without_a_subject_does_not_go() -> None:
    record = read_record(signed(), MODELS)[0]
    found = of_record(record, b"key")
    assert found is not None
    consents = Consents("p", 1, (found,))
    gate = SiteGate(Act("share"), NO_POLICIES)
    gate.learn(consents)
    asked = Asked("session", "s1", "primary", 0, "1", "Procedure", Action.PUT, "", Server.UNSEEN, False)
    (verdict,) = gate.decide("p", 1, [asked], AT.timestamp())
    assert (verdict.permit, verdict.reason) == (False, "unknown-subject")
    (back,) = gate.decide("p", 1, [msgspec.structs.replace(asked, action=Action.RETRACT)], AT.timestamp())
    assert (back.permit, back.act) == (True, "retract")


def _asked(record: Record, part: Part) -> Asked:
    return Asked(
        record.kind, record.id, part.role, 0, str(record.revision), part.resource_type, Action.PUT,
        text_of(record, part), Server.UNSEEN, False,
    )  # fmt: skip
