"""One drug given: the extension on the session that carries it, and its MedicationAdministration (specification
§3.1.1).
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Mapping

from fhirbridge.binding import Binding
from fhirbridge.codec.extension import Simple
from fhirbridge.codec.leaf import Codec, Table, Term, concept, identifier, period, quantity, quantity_node, reference
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Part
from fhirbridge.records import Administration, Decimal, Period, Session
from fhirbridge.records.session import NOT_GIVEN
from mappings import extensions, local, terms
from mappings.common import Meta, term, two_codings

STATUS = {
    "in_progress": "in-progress",
    "not_done": "not-done",
    "on_hold": "on-hold",
    "completed": "completed",
    "entered_in_error": "entered-in-error",
    "stopped": "stopped",
    "unknown": "unknown",
}


def medication(binding: Binding) -> Term:
    """The drugs: SNOMED where verified, RxNorm beside it where the site wants secondary codes, text alone else."""
    if binding.overlay.secondary_codes:
        nodes = two_codings(terms.DRUG, terms.SECONDARY_DRUG)
    else:
        nodes = terms.DRUG.concepts()
        nodes |= {word: {"text": terms.label(word)} for word in terms.UNCODED_DRUGS}
    return Drug(nodes, {terms.SECONDARY_DRUG.key(word): word for word in terms.SECONDARY_DRUG.table})


class Drug(Term):
    """A drug word; one without any code is recognised by its text."""

    def __init__(self, nodes: dict[str, Tree], aliases: Mapping[tuple[str, str], str]) -> None:
        super().__init__(nodes, aliases, or_concept=True)
        self._texts = {node["text"]: word for word, node in nodes.items() if "coding" not in node}

    def word_of(self, node: Tree) -> str | None:
        word = super().word_of(node)
        return self._texts.get(node["text"]) if word is None and node.keys() == {"text"} else word


def administration_codecs(binding: Binding) -> dict[str, Codec]:
    """The codecs of the extension's coded parts."""
    return {
        "medication": medication(binding),
        "route": term(terms.ROUTE),
        "dosingWeightKind": Table(local.DOSING_WEIGHT_KIND.codes()),
        "status": Table(STATUS),
    }


class Administrations:
    """The projections ``administration/1``, ``administration/2`` …: one MedicationAdministration each."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._r5 = binding.release.is_r5
        self._meta = Meta(binding)
        self._medication = medication(binding)
        self._route = term(terms.ROUTE)
        self._weight = Simple(binding, extensions.DOSE_PER_WEIGHT, "dose_per_weight")
        self._sessions = binding.sid("treatment-session")
        self._system = binding.sid("administration")

    def parts(self, record: Session, resource: Tree) -> Iterable[Part]:
        """A part for each administration, linked to the session."""
        for number, administration in enumerate(record.administrations, start=1):
            role = f"administration/{number}"
            node = self._node(record, resource, administration, number, role)
            yield Part(role, "MedicationAdministration", node["id"], node)

    def _node(self, record: Session, resource: Tree, given: Administration, number: int, role: str) -> Tree:
        key = f"{record.id}-{number}"
        named = (
            {"system": self._system, "value": key} if given.identifier is None else identifier.encode(given.identifier)
        )
        code = self._medication.encode(given.medication)
        node: Tree = {
            "resourceType": "MedicationAdministration",
            "id": self._binding.resource_id("session", record.id, role),
            "meta": self._meta.of(record, key, role),
            "identifier": [named],
            "partOf": [{"type": "Procedure", "identifier": {"system": self._sessions, "value": record.id}}],
            "status": status_of(record, given),
        }
        if given.status_reason is not None:
            node["statusReason"] = [concept.encode(given.status_reason)]
        node["medication" if self._r5 else "medicationCodeableConcept"] = {"concept": code} if self._r5 else code
        node["subject"] = resource["subject"]
        if "encounter" in resource:
            node["encounter" if self._r5 else "context"] = resource["encounter"]
        # R5 really spells it with one r (trap T9).
        stem = "occurence" if self._r5 else "effective"
        node.update(_when(stem, record, given))
        performers = [reference.encode(one.actor) for one in record.performers if one.function == "administering"]
        if performers:
            node["performer"] = [{"actor": {"reference": one} if self._r5 else one} for one in performers]
        reason = "reason" if self._r5 else "reasonCode"
        if reason in resource:
            concepts = [one for one in resource[reason] if not self._r5 or "concept" in one]
            if concepts:
                node[reason] = concepts
        dosage = self._dosage(given)
        if dosage:
            node["dosage"] = dosage
        return node

    def _dosage(self, given: Administration) -> Tree:
        """``dosage``; invariant mad-1 wants a dose or a rate, and each is what the record says, never inferred."""
        dosage: Tree = {}
        found: list[Tree] = []
        self._weight.write(given, dosage, found)
        if found:
            dosage["extension"] = found
        if given.site is not None:
            dosage["site"] = concept.encode(given.site)
        if given.route is not None:
            dosage["route"] = self._route.encode(given.route)
        if given.dose is not None:
            dosage["dose"] = quantity.encode(given.dose)
        if given.rate is not None:
            dosage["rateQuantity"] = quantity.encode(given.rate)
        elif (
            given.dose is not None and given.route == "intravenous" and (minutes := _minutes(given.period)) is not None
        ):
            dosage["rateRatio"] = {
                "numerator": quantity.encode(given.dose),
                "denominator": quantity_node(minutes, "min"),
            }
        return dosage if "dose" in dosage or "rateQuantity" in dosage else {}


def status_of(record: Session, given: Administration) -> str:
    """The status of one administration: its own, or what follows from the session's.

    A session entered in error takes all of its administrations with it; what a session that did not take place lists
    was not given.
    """
    if record.status == "entered_in_error":
        return "entered-in-error"
    if given.status is not None:
        return STATUS[given.status]
    if record.status in NOT_GIVEN:
        return "not-done"
    return {"in_progress": "in-progress", "on_hold": "on-hold", "unknown": "unknown"}.get(record.status, "completed")


def _when(stem: str, record: Session, given: Administration) -> Tree:
    if given.period is not None:
        return {f"{stem}Period": period.encode(given.period)}
    if record.ended_at is not None:
        return {f"{stem}Period": {"start": str(record.started_at), "end": str(record.ended_at)}}
    return {f"{stem}DateTime": str(record.started_at)}


def _minutes(span: Period | None) -> Decimal | None:
    if span is None or span.start is None or span.end is None or min(len(span.start), len(span.end)) <= 10:
        return None
    seconds = decimal.Decimal(str((span.end.as_datetime() - span.start.as_datetime()).total_seconds()))
    minutes = (seconds / 60).quantize(decimal.Decimal("0.01")).normalize()
    return Decimal(f"{minutes:f}") if minutes > 0 else None
