"""One hospital: its settings, the mappings bound to it, its patients, and what it can really do."""

from __future__ import annotations

import functools
import re
from collections import OrderedDict
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from fhirbridge.client.auth import Anonymous, Bearer
from fhirbridge.client.rest import Client, Listener
from fhirbridge.client.transport import Transport
from fhirbridge.config import Config, SiteSettings
from fhirbridge.errors import ConfigError, Fault, SiteRefused
from fhirbridge.fhir.bundle import Address, next_link, resources
from fhirbridge.fhir.capability import Capabilities
from fhirbridge.fhir.json import Tree
from fhirbridge.mapping import Binding, Clinic, Kind, Mappings, Overlay, Release
from fhirbridge.records import Ref

_LITERAL_PATIENT = re.compile(r"Patient/([A-Za-z0-9.-]{1,64})")
# A server that does not know POST _search says one of these.
_NO_POST_SEARCH = frozenset({400, 404, 405, 415, 501})
_MOST_PATIENTS = 10_000
_SEARCH_SPECIAL = re.compile(r"([\\,$|])")


def clinic(config: Config) -> Clinic:
    """The clinic as mappings want it, with its id key read. Raises :class:`ConfigError`."""
    settings = config.clinic
    return Clinic(settings.domain, config.id_key(), settings.source, settings.base, settings.other_bases)


class Site:
    """A FHIR server that is ready to be used; a context manager that closes its connections."""

    def __init__(self, name: str, settings: SiteSettings, mappings: Mappings, client: Client) -> None:
        self.name = name
        self.settings = settings
        self.mappings = mappings
        self.client = client
        self.patients = Patients(client)

    @classmethod
    def open(
        cls,
        name: str,
        config: Config,
        *,
        listener: Listener | None = None,
        kinds: Mapping[str, Kind] | None = None,
    ) -> Self:
        """The site ``name`` of the configuration. Raises :class:`ConfigError`; nothing is sent yet."""
        settings = config.site(name)
        token = config.token(settings)
        transport = Transport(
            settings.base_url,
            authorization=Anonymous() if token is None else Bearer(token),
            timeout=settings.timeout,
            max_body=settings.max_body,
        )
        overlay = Overlay(**settings.overlay.model_dump())
        binding = Binding(clinic(config), Release(settings.release), overlay)
        return cls(name, settings, Mappings(binding, kinds), Client(transport, listener))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    @functools.cached_property
    def capabilities(self) -> Capabilities:
        """What the server declares; nothing, if it keeps its CapabilityStatement to itself."""
        try:
            return self.client.capabilities()
        except SiteRefused:
            return Capabilities()

    @property
    def types(self) -> tuple[str, ...]:
        """The resource types to pull: as set, else those that a kind of record is kept in."""
        every = dict.fromkeys(kind.resource_type for kind in self.mappings.kinds.values())
        return self.settings.types or tuple(every)

    def check(self) -> None:
        """Raise :class:`ConfigError` where settings and server cannot go together; asks for its CapabilityStatement."""
        declared, wanted = self.capabilities.fhir_version, Release(self.settings.release)
        if declared is not None and declared.partition(".")[0] != wanted.fhir_version.partition(".")[0]:
            known = re.fullmatch(r"\d+\.\d+\.\d+(-\w+)?", declared)
            said = f"FHIR {declared}" if known else "another release of FHIR"
            message = f"site.{self.name}.release is {wanted.value}, but the server speaks {said}"
            raise ConfigError(message, code="config.release", hint="set release, or check base_url")


class Patients:
    """Where the clinic's patients are on the server. One exact, active match, or a reason; never a guess."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: OrderedDict[tuple[str, str], Address] = OrderedDict()

    def find(self, patient: Ref) -> Address | Fault:
        """The address of a record's patient. Raises :class:`SiteError` when the server does not answer properly."""
        if patient.identifier is not None and patient.identifier.value is not None:
            return self._remembered(patient.identifier.system or "", patient.identifier.value)
        literal = _LITERAL_PATIENT.fullmatch(patient.literal or "")
        if literal is None:
            return Fault("patient.no_identifier", "patient", "the patient has no identifier", "add patient.identifier")
        found = self._client.read(Address("Patient", literal[1]))
        return _NOT_FOUND if found is None else _usable([found])

    def _remembered(self, system: str, value: str) -> Address | Fault:
        key = (system, value)
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        found = self._find(system, value)
        # Only what was found: somebody may be registering the others right now.
        if isinstance(found, Address):
            self._found[key] = found
            if len(self._found) > _MOST_PATIENTS:
                self._found.popitem(last=False)
        return found

    def _find(self, system: str, value: str) -> Address | Fault:
        token = "|".join(_SEARCH_SPECIAL.sub(r"\\\1", part) for part in (system, value))
        parameters = {"identifier": token, "_count": "5"}
        try:
            page = self._client.search_by_post("Patient", parameters)
        except SiteRefused as refused:
            if refused.status not in _NO_POST_SEARCH:
                raise
            page = self._client.search("Patient", parameters)
        # A server that ignores the parameter answers with everybody.
        carrying = [one for one in resources(page) if _carries(one, system, value)]
        if next_link(page) is not None:
            return _AMBIGUOUS
        return _usable(carrying)


def _carries(patient: Tree, system: str, value: str) -> bool:
    listed = patient.get("identifier")
    return patient.get("resourceType") == "Patient" and any(
        isinstance(one, dict) and one.get("value") == value and one.get("system", "") == system
        for one in (listed if isinstance(listed, list) else ())
    )


def _usable(found: list[Tree]) -> Address | Fault:
    if not found:
        return _NOT_FOUND
    if len(found) > 1:
        return _AMBIGUOUS
    patient = found[0]
    links = patient.get("link")
    replaced = any(
        isinstance(link, dict) and link.get("type") == "replaced-by"
        for link in (links if isinstance(links, list) else ())
    )
    if patient.get("active") is False or replaced:
        hint = "find out which chart is the patient's"
        return Fault("patient.inactive", "patient", "the server's patient is inactive or was merged into another", hint)
    own = patient.get("id")
    return Address("Patient", own) if isinstance(own, str) else _NOT_FOUND


_NOT_FOUND = Fault(
    "patient.not_found", "patient", "the server has no patient with that identifier", "register the patient there first"
)
_AMBIGUOUS = Fault(
    "patient.ambiguous", "patient", "the server has several patients for that identifier", "have them merged there"
)
