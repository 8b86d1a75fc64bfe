"""How a site's deliveries stand: for people, for scripts, and as OpenMetrics text. No patient data in any of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fhirbridge.fhir.json import Tree
from fhirbridge.ledger import Standing


@dataclass(frozen=True, slots=True)
class Alarm:
    """Whether an adverse event has waited too long. Ages and ``limit`` are seconds; no age: nothing waits."""

    oldest: float | None
    oldest_urgent: float | None
    limit: float

    @property
    def rings(self) -> bool:
        """Whether somebody has to act."""
        return self.oldest_urgent is not None and self.oldest_urgent > self.limit


def alarm(standing: Standing, now: float, limit: float) -> Alarm:
    """The ages at the moment ``now`` (epoch seconds). A clock that was set back gives no negative age."""
    return Alarm(_age(standing.oldest_unsent, now), _age(standing.oldest_urgent, now), limit)


def as_json(standing: Standing, said: Alarm) -> Tree:
    """The standing for ``--json``."""
    sites: Tree = {}
    for (site, kind, state), count in sorted(standing.counts.items()):
        sites.setdefault(site, {}).setdefault(kind, {})[str(state)] = count
    return {
        "sites": sites,
        "oldest_unsent_seconds": said.oldest,
        "oldest_adverse_event_seconds": said.oldest_urgent,
        "adverse_event_limit_seconds": said.limit,
        "alarm": said.rings,
        "lanes": {"leased": standing.leased, "waiting": standing.waiting},
    }


def open_metrics(standing: Standing, said: Alarm) -> str:
    """The standing as OpenMetrics 1.0 text."""
    counts = [
        (f'{{site="{_label(site)}",kind="{_label(kind)}",state="{state}"}}', float(count))
        for (site, kind, state), count in sorted(standing.counts.items())
    ]
    lines = [
        *_family("deliveries", "Deliveries by site, kind and state.", counts),
        *_family("oldest_unsent_seconds", "Age of the oldest delivery that has not arrived.", _one(said.oldest)),
        *_family(
            "oldest_adverse_event_seconds",
            "Age of the oldest adverse event that has not arrived.",
            _one(said.oldest_urgent),
        ),
        *_family("adverse_event_alarm", "1 when an adverse event is older than its limit.", [("", float(said.rings))]),
        *_family("lanes_leased", "Patients' lanes that a worker holds.", [("", float(standing.leased))]),
        *_family("lanes_waiting", "Patients' lanes with something to deliver.", [("", float(standing.waiting))]),
        "# EOF",
    ]
    return "\n".join(lines) + "\n"


def _family(name: str, about: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# TYPE fhirbridge_{name} gauge"
    if name.endswith("_seconds"):
        yield f"# UNIT fhirbridge_{name} seconds"
    yield f"# HELP fhirbridge_{name} {about}"
    for labels, value in samples:
        yield (
            f"fhirbridge_{name}{labels} {value:g}" if value != int(value) else f"fhirbridge_{name}{labels} {int(value)}"
        )


def _one(age: float | None) -> list[tuple[str, float]]:
    # Nothing that waits has no age: the gauge is 0, so that an alert on it falls silent.
    return [("", 0.0 if age is None else round(age, 3))]


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else max(0.0, now - since)
