"""The patients of a source: by which names each one goes, what they consented to, when the first dose was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fhirbridge.consent import Evidence, Found
from fhirbridge.fhir.json import Tree
from fhirbridge.records import Consent, DateTime
from fhirbridge.research.survey import Chart, Dose, Survey
from fhirbridge.research.tables.values import seconds

# The origin of consents that were found in a source, and may be somebody else's copy.
_SOURCE = "source"


@dataclass(slots=True, repr=False)
class Facts:
    """What is known of one patient: consents, doses by session (as the source has them), the newest chart."""

    evidence: list[Evidence] = field(default_factory=list)
    doses: list[tuple[str, str]] = field(default_factory=list)
    first_dose: str | None = None
    chart: Tree | None = None


@dataclass(slots=True, repr=False)
class People:
    """All patients, by identity: the name that is the same in the whole source.

    ``names`` leads from other names to the identity. ``doubtful`` are names by which two patients go: nothing that
    uses one of them is used.
    """

    facts: dict[str, Facts] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    doubtful: frozenset[str] = frozenset()

    def identity(self, alias: str) -> str | None:
        """Whom an alias means; ``None`` where that is in doubt, or nobody is named."""
        if not alias or alias in self.doubtful:
            return None
        return self.names.get(alias, alias)

    def of(self, alias: str) -> Facts | None:
        """The facts of whom an alias means, made where there are none yet."""
        identity = self.identity(alias)
        return None if identity is None else self.facts.setdefault(identity, Facts())


def people(surveys: Sequence[Survey], outdated: Sequence[set[int]], own_system: str) -> People:
    """The patients of a source; ``outdated`` are the places of each piece that do not count, ``own_system`` the
    clinic's own identifier system for patients."""
    charts = [
        chart for one, old in zip(surveys, outdated, strict=True) for chart in one.charts if chart.place not in old
    ]
    found = _named(charts, f"{own_system}|")
    for one, old in zip(surveys, outdated, strict=True):
        for place, alias, evidence in one.consents:
            facts = found.of(alias)
            if place not in old and facts is not None:
                facts.evidence.append(evidence)
        for dose in one.doses:
            facts = found.of(dose.patient)
            if dose.place not in old and facts is not None:
                _dosed(facts, dose)
    return found


def forbidding(evidence: Iterable[Evidence]) -> list[Evidence]:
    """The consents of a source as they count beside the clinic's own: they may forbid, and permit nothing, also those
    that say they are the clinic's."""
    return [_forbidding(one) for one in evidence]


def _forbidding(one: Evidence) -> Evidence:
    if isinstance(one, Consent):
        return Found(one, _SOURCE)
    return replace(one, may_permit=False) if isinstance(one, Found) else one


def _dosed(facts: Facts, dose: Dose) -> None:
    if dose.dose is not None:
        facts.doses.append((dose.session, dose.dose))
    earliest = facts.first_dose
    if earliest is None or (_at(dose.anchor), dose.anchor) < (_at(earliest), earliest):
        facts.first_dose = dose.anchor


def _at(text: str) -> float:
    moment = seconds(DateTime(text))
    assert moment is not None  # anchors have a time of day
    return moment


class _Groups:
    """Names that mean the same, joined."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        parent = self._parent
        found = name
        while parent.setdefault(found, found) != found:
            found = parent[found]
        while parent[name] != found:
            parent[name], name = found, parent[name]
        return found

    def join(self, one: str, other: str) -> None:
        first, second = self.root(one), self.root(other)
        self._parent[max(first, second)] = min(first, second)

    def members(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._parent:
            found.setdefault(self.root(name), []).append(name)
        return found


def _named(charts: Sequence[Chart], own: str) -> People:
    """Names out of charts: an identifier with a system means one patient wherever it stands, a merged chart means whom
    it was merged into. A group with two of the clinic's own identifiers, which nobody has merged, is in doubt."""
    groups = _Groups()
    for chart in charts:
        names = _names(chart)
        for name in names:
            groups.join(names[0], name)
        if chart.replaced_by is not None and names:
            groups.join(names[0], chart.replaced_by)
    replaced = {name for chart in charts if chart.replaced_by is not None for name in _names(chart)}
    found = People()
    doubtful: set[str] = set()
    for members in groups.members().values():
        owned = sorted(name for name in members if name.startswith(own))
        standing = [name for name in owned if name not in replaced]
        if len(standing) > 1:
            doubtful.update(members)
            continue
        identity = (standing or owned or sorted(members, key=_rank))[0]
        found.names.update(dict.fromkeys(members, identity))
    found.doubtful = frozenset(doubtful)
    for chart in sorted(charts, key=lambda one: one.replaced_by is None):
        facts = found.of((_names(chart) or ("",))[0])
        if facts is not None:
            facts.chart = chart.tree
    return found


def _names(chart: Chart) -> list[str]:
    named = [one for one in chart.identifiers if not one.startswith("|")]
    return [chart.address, *named] if chart.address else named


def _rank(name: str) -> tuple[bool, str]:
    # An identifier is the same everywhere; an address is one server's.
    return "|" not in name, name
