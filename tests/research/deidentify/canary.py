"""Canaries: marks that nobody may find again, in every field of every record and all over foreign resources.

    python -m tests.research.deidentify.canary --patients 10000

Records come from the strategies of the mappings' laws, so that every field occurs; then each free text, code, id and
address in them is replaced by a mark of this patient alone. What de-identification gives is searched as JSON and as
FHIR, and its dates are compared with those of the source. Prints at how many paths marks were set and how many
survived; ends with 1 where one did.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import itertools
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, given, seed, settings

from fhirbridge.binding import Binding, Clinic, Release
from fhirbridge.errors import NotExpressible, RecordRefused
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.mapping import Mappings
from fhirbridge.records import Decimal, Period, Record, parse, to_json
from fhirbridge.records.base import Model
from fhirbridge.records.text import Date, DateTime, Instant
from fhirbridge.research.deidentify import (
    DOMAIN,
    Deidentifier,
    Person,
    Profile,
    ProjectKey,
    ResourceDeidentifier,
)
from fhirbridge.research.deidentify.profile import SHIPPED
from fhirbridge.research.deidentify.rules import leaves
from tests.kinds import CASES

FIRST_DOSE = dt.datetime.fromisoformat("2026-06-17T10:20:30-04:00")
KEY = ProjectKey(b"a project key for tests, 32 byte", "CANARY")
MAPPINGS = Mappings(Binding(Clinic(DOMAIN, b"an id key for tests, 32 bytes ok"), Release.R5))
_TIMES = (Date, DateTime, Instant)
CLOSED = {Literal, DateTime, Date, Instant, Decimal, bool, int, Period}
# Parts that hold numbers, units of a closed list, yes and no, and closed words (a concept in them is rare); and what no
# mark can be, because a subtag of a language has eight letters at most, or because the strategy has words alone.
UNMARKED = frozenset(
    {"vitals_acceptable", "offset_from_dose", "onset_offset", "readings", "language", "adverse_event.outcome"}
)
# So many rounds are enough by far; without an end, a field that no mark fits would never be noticed.
_ROUNDS = 60
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Marks:
    """Makes marks, each once, and finds them again whatever their case and what stands around them."""

    def __init__(self, patient: int) -> None:
        self._prefix = f"zq{patient:x}k"
        self._count = 0
        first = 900_000_000_000 + patient * 1_000
        self._numbers = itertools.count(first)
        self._pattern = re.compile(rf"{self._prefix}[0-9a-f]+w|{first // 1_000}[0-9]{{3}}")

    def text(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count:x}w"

    def digits(self) -> str:
        return str(next(self._numbers))

    def survivors(self, data: bytes) -> list[str]:
        return self._pattern.findall(data.decode().casefold())


def pool(kind: str, count: int, number: int) -> list[Tree]:
    """So many records of a kind; others for another number."""
    found: list[Tree] = []

    @seed(number)
    @settings(
        max_examples=count, database=None, phases=[Phase.generate], deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(CASES[kind].trees)
    def gather(tree: Tree) -> None:
        found.append(tree)

    gather()
    return found


def wanted(kind: str) -> set[str]:
    """The fields of a kind that can hold more than numbers, yes and no, times, units and words of closed lists."""
    fields = CASES[kind].kind.record.model_fields
    return {
        name
        for name, about in fields.items()
        if UNMARKED.isdisjoint({name, f"{kind}.{name}"}) and not set(leaves(about.annotation)) <= CLOSED
    }


class Planter:
    """Puts a mark wherever a model accepts one; remembers what sort of text each path takes, for most models are slow
    to ask."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self._forms: dict[str, int] = {}

    def plant(self, model: type[Model], tree: Tree, marks: Marks, path: str) -> Tree:
        """The tree with its marks; ``paths`` gets theirs."""
        trial = _copied(tree)
        spots = [(steps, _path(path, steps)) for steps in _spots(tree, ())]
        for steps, name in spots:
            form, forms = self._forms.get(name, -1), _forms(_at(tree, steps), marks)
            if 0 <= form < len(forms):
                _put(trial, steps, forms[form])
        if not _accepts(model, trial):
            trial = _copied(tree)
            spots = [(steps, name) for steps, name in spots if self._one(model, trial, steps, name, marks)]
        else:
            new = [one for one in spots if one[1] not in self._forms and self._one(model, trial, *one, marks)]
            spots = [one for one in spots if self._forms.get(one[1], -1) >= 0 or one in new]
        self.paths.update(name for _, name in spots)
        return trial

    def _one(self, model: type[Model], trial: Tree, steps: tuple[Any, ...], name: str, marks: Marks) -> bool:
        before = _at(trial, steps)
        for form, mark in enumerate(_forms(before, marks)):
            _put(trial, steps, mark)
            if _accepts(model, trial):
                self._forms[name] = max(form, self._forms.get(name, -1))
                return True
        _put(trial, steps, before)
        self._forms.setdefault(name, -1)
        return False


def _forms(value: str, marks: Marks) -> list[str]:
    """The same mark as text, as an address, as a code … ; times stay times."""
    if _DATE.match(value):
        return []
    text, digits = marks.text(), marks.digits()
    return [
        f"{text} {digits}",
        f"https://{text}.example/{digits}",
        f"Patient/{text}",
        text,
        f"application/{text}",
        base64.b64encode(text.encode().ljust(12)).decode(),
    ]


def _spots(value: Any, steps: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _spots(member, (*steps, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _spots(item, (*steps, index))
    elif isinstance(value, str):
        yield steps


def _at(tree: Any, steps: tuple[Any, ...]) -> Any:
    for step in steps:
        tree = tree[step]
    return tree


def _put(tree: Any, steps: tuple[Any, ...], value: Any) -> None:
    for step in steps[:-1]:
        tree = tree[step]
    tree[steps[-1]] = value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(member) for name, member in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _path(root: str, steps: tuple[Any, ...]) -> str:
    return ".".join([root, *(step for step in steps if isinstance(step, str))])


def _accepts(model: type[Model], tree: Tree) -> bool:
    try:
        model.model_validate(tree)
    except ValueError:
        return False
    return True


class Pools:
    """Records of every kind, marked, with the places of the marks known, so that marking another patient is quick."""

    def __init__(self, size: int) -> None:
        self.kinds = tuple(CASES)
        planter = Planter()
        self.paths = planter.paths
        self._records: dict[str, list[tuple[Tree, list[tuple[Any, ...]]]]] = {}
        for kind in CASES:
            model = CASES[kind].kind.record
            self._records[kind] = []
            number, fields = 20261123, set(model.model_fields)
            # As many more as it takes until every field has occurred, and was marked where it can be.
            while fields or not wanted(kind) <= self.marked(kind):
                if number > 20261123 + _ROUNDS:
                    raise AssertionError(f"never marked in {kind}: {sorted(fields | wanted(kind) - self.marked(kind))}")
                for tree in pool(kind, size, number):
                    fields -= tree.keys()
                    planted = planter.plant(model, tree, Marks(0), kind)
                    self._records[kind].append((planted, _marked(planted)))
                number += 1

    def marked(self, kind: str) -> set[str]:
        """The fields of a kind that were marked, somewhere in them."""
        return {path.split(".")[1] for path in self.paths if path.startswith(f"{kind}.")}

    def records(self, patient: int, chance: random.Random) -> Iterator[tuple[Record, Tree]]:
        """A record of each kind for a patient, full of that patient's marks, and the tree it was made of."""
        prefix, number = f"zq{patient:x}k", str(900_000_000_000 + patient * 1_000)[:9]
        for kind, listed in self._records.items():
            tree, spots = chance.choice(listed)
            made = _copied(tree)
            for steps in spots:
                _put(made, steps, _at(made, steps).replace("zq0k", prefix).replace("900000000", number))
            try:
                yield parse(CASES[kind].kind.record, made), made
            except RecordRefused:
                yield parse(CASES[kind].kind.record, tree), tree


def _marked(tree: Tree) -> list[tuple[Any, ...]]:
    """Where the marks of patient 0 stand: they are written anew for each patient."""
    return [steps for steps in _spots(tree, ()) if "zq0k" in _at(tree, steps)]


def foreign(patient: int, chance: random.Random) -> Iterator[Tree]:
    """Resources of other types with marks in narrative, extensions, contained resources, attachments and beyond."""
    marks = Marks(patient)
    text = marks.text

    def concept() -> Tree:
        known = chance.choice(
            ["http://snomed.info/sct", "http://loinc.org", "http://www.nlm.nih.gov/research/umls/rxnorm"]
        )
        codes = [
            {"system": known, "code": marks.digits(), "display": text(), "version": text()},
            {"system": known, "code": text()},
            {"system": f"https://{text()}.example", "code": text()},
            {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": text()},
        ]
        return {"coding": codes, "text": text(), "id": text(), "extension": [extension()]}

    def extension() -> Tree:
        return {
            "url": f"https://{text()}.example",
            "valueString": text(),
            "extension": [{"url": text(), "valueCode": text()}],
        }

    def reference(type_: str) -> Tree:
        return chance.choice(
            [
                {"reference": f"{type_}/{text()}", "display": text()},
                {"reference": f"https://{text()}.example/{type_}/{text()}/_history/{text()}"},
                {"type": type_, "identifier": {"system": text(), "value": text()}, "display": text()},
                {"reference": f"#{text()}"},
                {"display": text(), "type": text()},
                {"reference": f"{text()}/{text()}"},
            ]
        )

    def common(type_: str) -> Tree:
        return {
            "resourceType": type_,
            "id": text(),
            "meta": {"source": text(), "tag": [{"system": text(), "code": text()}], "profile": [text()]},
            "language": text(),
            "text": {"status": "generated", "div": f"<div>{text()} {marks.digits()}</div>"},
            "extension": [extension()],
            "contained": [{"resourceType": "Patient", "id": text(), "name": [{"family": text()}]}],
            "identifier": [{"system": text(), "value": text(), "assigner": {"display": text()}}],
            "note": [{"text": text(), "authorString": text()}],
            text(): text(),
            "_status": {"extension": [extension()]},
        }

    attachment = {"data": base64.b64encode(text().encode()).decode(), "title": text(), "url": f"https://x/{text()}"}
    address = {
        "line": [text()], "city": text(), "district": text(), "state": text(), "postalCode": "03601", "country": "US",
        "text": text(), "period": {"start": "2001-02-03"},
    }  # fmt: skip
    yield common("Patient") | {
        "name": [{"family": text(), "given": [text()], "text": text()}],
        "telecom": [{"system": "phone", "value": marks.digits()}, {"system": "email", "value": f"{text()}@x.example"}],
        "gender": chance.choice(["female", text()]),
        "birthDate": chance.choice(["1931-05-06", "1971-05-06", text()]),
        "_birthDate": {"extension": [extension()]},
        "address": [address],
        "photo": [attachment],
        "contact": [{"name": {"family": text()}, "telecom": [{"value": marks.digits()}], "address": address}],
        "generalPractitioner": [reference("Practitioner")],
        "managingOrganization": reference("Organization"),
        "link": [{"other": reference("Patient"), "type": "seealso"}],
        "maritalStatus": concept(),
        "communication": [{"language": concept()}],
        "deceasedBoolean": chance.choice([False, text()]),
    }
    clinical = {
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "category": [concept()],
        "reasonCode": [concept()],
        "reasonReference": [reference("Condition")],
        "statusReason": concept(),
        "status": chance.choice(["active", text()]),
    }
    yield common("Condition") | clinical | {
        "code": concept(), "severity": concept(), "onsetString": text(),
        "onsetDateTime": chance.choice([text(), "2001-02-03"]),
        "recorder": reference("Practitioner"), "asserter": reference("RelatedPerson"), "bodySite": [concept()],
        "evidence": [{"detail": [reference("Observation")], "code": [concept()]}], "stage": [{"summary": concept()}],
    }  # fmt: skip
    dosage = {
        "text": text(), "patientInstruction": text(), "route": concept(), "site": concept(), "method": concept(),
        "additionalInstruction": [concept()], "sequence": 1,
        "doseAndRate": [
            {"type": concept(), "doseQuantity": {"value": int(marks.digits()), "unit": text(), "code": "mg"}}
        ],
    }  # fmt: skip
    for type_ in ("MedicationRequest", "MedicationStatement", "MedicationAdministration"):
        yield common(type_) | clinical | {
            "medicationCodeableConcept": concept(), "medicationReference": reference("Medication"),
            "medication": {"concept": concept(), "reference": reference("Medication")},
            "requester": reference("Practitioner"), "performer": [{"actor": reference("Practitioner")}],
            "dosageInstruction": [dosage], "dosage": [dosage], "instantiatesUri": [text()],
            "device": [reference("Device")],
            "dispenseRequest": {"performer": reference("Organization")}, "groupIdentifier": {"value": text()},
        }  # fmt: skip
    yield common("Medication") | {
        "code": concept(), "form": concept(), "manufacturer": reference("Organization"),
        "batch": {"lotNumber": text(), "expirationDate": "2001-02-03"},
        "ingredient": [{"itemCodeableConcept": concept(), "itemReference": reference("Substance")}],
    }  # fmt: skip
    yield common("Condition") | clinical | {"modifierExtension": [extension()], "code": concept()}
    yield common("Media") | {"content": attachment, "subject": reference("Patient")}


class Judge:
    """Runs one profile over patients and counts what survived."""

    def __init__(self, profile: Profile, pools: Pools) -> None:
        self.pools = pools
        self.work = Deidentifier(profile, KEY)
        self.resources = ResourceDeidentifier(self.work)
        self.survived: Counter[str] = Counter()
        self.unmoved: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.kept_back: Counter[str] = Counter()

    def person(self, patient: int) -> Person:
        return self.work.person(f"P-{patient}", first_dose=FIRST_DOSE, until=FIRST_DOSE + dt.timedelta(days=90))

    def patient(self, patient: int) -> None:
        """One patient: a record of each kind, and foreign resources."""
        chance = random.Random(patient)  # noqa: S311 - repeatable
        marks, person = Marks(patient), self.person(patient)
        for record, tree in self.pools.records(patient, chance):
            found = self.work.record(record, person)
            if found.record is None:
                self.kept_back[f"{record.kind}: {found.reason}"] += 1
                continue
            self.given[record.kind] += 1
            told = to_json(found.record)
            self._search(marks, record.kind, dump(told))
            self._search(marks, f"{record.kind} (paths)", " ".join(found.paths).encode())
            if self.work.profile.times.dates != "keep":
                self._dates(tree, told, record.kind)
            if patient % 10 == 0:
                try:
                    parts = MAPPINGS.to_fhir(found.record).parts
                except NotExpressible:
                    continue
                for part in parts:
                    self._search(marks, f"{record.kind} as FHIR", dump(part.resource))
        for resource in foreign(patient, chance):
            result = self.resources.resource(resource, person)
            self.given[resource["resourceType"]] += result.resource is not None
            self._search(marks, f"{resource['resourceType']} (paths)", " ".join(result.paths).encode())
            if result.resource is not None:
                self._search(marks, resource["resourceType"], dump(result.resource))

    def _search(self, marks: Marks, place: str, data: bytes) -> None:
        for _ in marks.survivors(data):
            self.survived[place] += 1

    def _dates(self, source: Any, told: Any, path: str) -> None:
        """No date stands where it stood."""
        if isinstance(told, dict):
            for name, member in told.items():
                self._dates(source.get(name) if isinstance(source, dict) else None, member, f"{path}.{name}")
        elif isinstance(told, list):
            for index, item in enumerate(told):
                known = source[index] if isinstance(source, list) and index < len(source) else None
                self._dates(known, item, path)
        elif isinstance(told, str) and _DATE.match(told) and isinstance(source, str) and told[:10] == source[:10]:
            self.unmoved[path] += 1


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--patients", type=int, default=1_000)
    parser.add_argument("--pool", type=int, default=150, help="records of each kind that are marked anew")
    chosen = parser.parse_args()
    begun = time.perf_counter()
    pools = Pools(chosen.pool)
    print(f"marks at {len(pools.paths)} paths of {len(CASES)} kinds of records")  # noqa: T201
    failed = False
    for name in SHIPPED:
        judge = Judge(Profile.load(name), pools)
        for patient in range(1, chosen.patients + 1):
            judge.patient(patient)
        survived, unmoved = judge.survived.total(), judge.unmoved.total()
        print(  # noqa: T201
            f"{name}: {chosen.patients:,} patients, {judge.given.total():,} records and resources given, "
            f"{judge.kept_back.total():,} records kept back; {survived} canaries survived, {unmoved} dates unmoved"
        )
        for place, count in (judge.survived + judge.unmoved).most_common(10):
            print(f"    {place}: {count}")  # noqa: T201
        failed |= survived > 0 or unmoved > 0
    print(f"{time.perf_counter() - begun:.0f} s")  # noqa: T201
    sys.exit(failed)


if __name__ == "__main__":
    main()
