"""Adverse events ⇄ AdverseEvent (specification §3.5).

R5 restructured the resource, so the releases share what only changed its name and have their own rules for the rest.
No profile is claimed: the adverse-event guides describe research and forbid elements that care needs (trap T11).
"""

from __future__ import annotations

from collections.abc import Iterable

from fhirbridge.binding import Binding
from fhirbridge.codec.element import Element, Elements, Rule, Rules, Single, Status
from fhirbridge.codec.extension import Complex, Simple
from fhirbridge.codec.leaf import Table, boolean, moment, reference
from fhirbridge.errors import Fault
from fhirbridge.mapping import BoundMapping, Kind
from fhirbridge.records import AdverseEvent
from fhirbridge.residue import Entry, leaves
from mappings import extensions, local, published, terms
from mappings.adverse_event_items import ActionItem, Item, ItemExtensions
from mappings.adverse_event_r4 import STATUS, IdentityR4, OnsetR4, ParticipantsR4, ResultsR4, StatusR4
from mappings.adverse_event_r5 import Occurrence, participants, preventive_actions, results, supporting_info
from mappings.adverse_event_suspects import SuspectsR4, SuspectsR5
from mappings.adverse_event_words import (
    EventCode,
    Grade,
    Seriousness,
    category,
    core_codes,
    expectedness,
    outcome,
    severity,
)
from mappings.common import NOTES, Meta, identifiers

ACTUALITY = Table({"actual": "actual", "potential": "potential"})


def _extensions(binding: Binding) -> tuple[Rule, ...]:
    """Our own extensions, which are the same in all releases (decision D3)."""
    return (
        Simple(binding, extensions.OFFSET_FROM_DOSE, "onset_offset"),
        Complex(binding, extensions.CTCAE, "ctcae"),
        Complex(binding, extensions.MEDDRA, "meddra"),
        Complex(binding, extensions.EXPECTEDNESS, "expectedness", codecs={"value": expectedness(binding)}),
        Simple(binding, extensions.DECHALLENGE, "dechallenge"),
        Simple(binding, extensions.RECHALLENGE, "rechallenge"),
        Complex(binding, extensions.REGULATORY_REPORT, "regulatory_reports"),
        Simple(binding, extensions.AESI, "special_interest", Table(local.AESI.codes())),
    )


def _shared(binding: Binding) -> tuple[Rule, ...]:
    """What R4 and R5 have the same names for."""
    guide = published.AE5 if binding.release.is_r5 else published.AE4
    spelling = terms.SERIOUSNESS_R4_CORE if core_codes(binding) else terms.SERIOUSNESS
    return (
        Meta(binding),
        Simple(binding, guide["ae-grade"], "grade", Grade()),
        Simple(binding, guide["caused-subject-to-discontinue-study"], "discontinued_study"),
        Element("actuality", "actuality", ACTUALITY, required=True),
        Elements("category", "categories", category(binding)),
        EventCode("code" if binding.release.is_r5 else "event"),
        Element("subject", "patient", reference, required=True),
        Element("encounter", "encounter", reference),
        Element("detected", "detected_at", moment),
        Element("recordedDate", "recorded_at", moment),
        Element("recorder", "recorded_by", reference),
        Element("location", "location", reference),
        Seriousness(binding, guide, spelling),
        Elements("study", "studies", reference),
        *_extensions(binding),
    )


def _r4(binding: Binding, status: StatusR4) -> tuple[Rule, ...]:
    guide = published.AE4
    return (
        IdentityR4(binding),
        status,
        OnsetR4(binding),
        Element("severity", "severity", severity()),
        Element("outcome", "outcome", outcome(binding)),
        ParticipantsR4(binding),
        ResultsR4(binding),
        SuspectsR4(binding),
        Simple(binding, guide["expected-in-research-study"], "expected_in_study"),
        ItemExtensions(published.MITIGATING_ACTION, "actions", ActionItem(binding, "value")),
        Simple(binding, extensions.PREVENTIVE_ACTION, "preventive_actions"),
        Elements("subjectMedicalHistory", "medical_history", reference),
        Elements("referenceDocument", "documents", reference),
        ItemExtensions(published.AE_SUPPORTING_INFO, "supporting_info", Item("value")),
        ItemExtensions(published.CONTRIBUTING_FACTOR, "contributing_factors", Item("value")),
        Simple(binding, guide["note"], "notes"),
    )


def _r5(binding: Binding) -> tuple[Rule, ...]:
    return (
        identifiers(binding, "adverse-event"),
        Status("status", "record_status", STATUS, extensions.INTERNAL_STATUS.written_url(binding)),
        Occurrence(),
        Simple(binding, published.AE5["ae-severity"], "severity", severity()),
        Single("outcome", "outcome", outcome(binding)),
        participants(),
        results(),
        SuspectsR5(binding),
        Element("expectedInResearchStudy", "expected_in_study", boolean),
        Elements("mitigatingAction", "actions", ActionItem(binding, "item")),
        preventive_actions(),
        supporting_info(binding),
        Elements("contributingFactor", "contributing_factors", Item("item")),
        NOTES,
    )


class AdverseEventMapping(BoundMapping):
    """The mapping of adverse events, which reads more than one way to say the same.

    A state in the guide's modifier extension, a dateTime for a period, the guide's ``suspect-entity`` for the element:
    each is written in one way, and the way it came is residue.
    """

    def __init__(self, kind: Kind, binding: Binding, rules: Rules, modifiers: Iterable[str] = ()) -> None:
        super().__init__(kind, binding, rules)
        elements = [f"modifierExtension({url})" for url in modifiers]
        self._modifiers = frozenset(element + part for element in elements for part in ("", ".url", ".valueCode"))

    def _objections(self, residue: Iterable[Entry]) -> Iterable[Fault]:
        return super()._objections(entry for entry in residue if not self._is_known_modifier(entry))

    def _is_known_modifier(self, entry: Entry) -> bool:
        """Whether an entry is a modifier extension that the status rule has read, and nothing beside it."""
        return all(element in self._modifiers for element in (entry.element, *leaves(entry.value, entry.element)))


def bind(kind: Kind, binding: Binding) -> BoundMapping:
    """The mapping of adverse events for one site."""
    if binding.release.is_r5:
        return AdverseEventMapping(kind, binding, Rules(*_shared(binding), *_r5(binding)))
    status = StatusR4(binding)
    return AdverseEventMapping(kind, binding, Rules(*_shared(binding), *_r4(binding, status)), status.modifiers)


KIND = Kind("adverse_event", AdverseEvent, "AdverseEvent", bind)
