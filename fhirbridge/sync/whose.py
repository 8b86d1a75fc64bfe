"""Whose a resource of a site is: the clinic's patient where the site's chart is known to be that one's.

What a hospital writes names its own chart. Its consents, and the clinic's, are of one person all the same, so both are
led to the key under which the clinic's records of that person go.
"""

from __future__ import annotations

from fhirbridge.fhir.bundle import Address, is_id
from fhirbridge.lists import Pair
from fhirbridge.patients import identifiers
from fhirbridge.records import Ref
from fhirbridge.site import Site
from fhirbridge.sync.identity import lane_named, lane_of

# Charts remembered at once.
_MOST = 100_000


class Whose:
    """The keys of patients, by how a site refers to them. For one pull: a chart is looked at once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        binding = site.mappings.binding
        self._key, self._own = binding.clinic.id_key, binding.sid("patient")
        self._charts: dict[str, str] = {}
        self._enrolled = _enrolled(site)

    def key_of(self, patient: Ref) -> str:
        """The key of a patient's lanes. Raises :class:`SiteError` where the site does not answer properly."""
        named = patient.identifier
        if named is not None and named.value is not None:
            pair = (named.system or "", named.value)
            return self._named(self._enrolled.get(pair, pair))
        chart = _chart(patient.literal, self._site.client.base)
        if chart is None:
            return lane_of(patient, self._key)
        if chart not in self._charts:
            if len(self._charts) >= _MOST:
                self._charts.clear()
            self._charts[chart] = self._of_chart(chart)
        return self._charts[chart]

    def _of_chart(self, chart: str) -> str:
        found = self._site.client.read(Address("Patient", chart))
        pairs = [] if found is None else identifiers(found)
        ours = [pair for pair in pairs if pair[0] == self._own]
        ours += [self._enrolled[pair] for pair in pairs if pair in self._enrolled]
        if ours:
            return self._named(min(ours))
        # Nobody of the clinic's: charts of two sites may have the same number.
        return lane_of(Ref(literal=f"{self._site.client.base}/Patient/{chart}"), self._key)

    def _named(self, pair: Pair) -> str:
        return lane_named(*pair, self._key)


def _enrolled(site: Site) -> dict[Pair, Pair]:
    """The clinic's identifiers by the hospital's, as far as the crosswalk leads one patient to one chart."""
    known = site.patients.known
    if known is None:
        return {}
    crosswalk = known.crosswalk.now()
    return {
        (known.system or own[0], there.hospital): own
        for own, there in crosswalk.entries.items()
        if there.hospital not in crosswalk.shared
    }


def _chart(literal: str | None, base: str) -> str | None:
    """The id of a chart at the site, from a relative address or one within ``base``."""
    path = (literal or "").removeprefix(f"{base}/").partition("/_history/")[0]
    type_, _, own = path.partition("/")
    return own if type_ == "Patient" and is_id(own) else None
