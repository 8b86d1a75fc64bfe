"""One hospital: its settings, the mappings bound to it, its patients, and what it can really do."""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from fhirbridge.client.auth import Anonymous, Bearer
from fhirbridge.client.rest import Client, Listener
from fhirbridge.client.transport import Transport
from fhirbridge.config import Config, SiteAct, SiteConsentSettings, SiteSettings
from fhirbridge.consent import NO_POLICIES, Act, LabelRule, LegalException, Policies
from fhirbridge.crosswalk import CrosswalkFile
from fhirbridge.directory import Directory, Listing
from fhirbridge.errors import ConfigError, SiteRefused
from fhirbridge.fhir.capability import Capabilities
from fhirbridge.mapping import Binding, Clinic, Kind, Mappings, Overlay, Release
from fhirbridge.patients import Known, Patients
from fhirbridge.records import Identifier, Ref


def clinic(config: Config) -> Clinic:
    """The clinic as mappings want it, with its id key read. Raises :class:`ConfigError`."""
    settings = config.clinic
    return Clinic(settings.domain, config.id_key(), settings.source, settings.base, settings.other_bases)


class Site:
    """A FHIR server that is ready to be used; a context manager that closes its connections."""

    def __init__(
        self,
        name: str,
        settings: SiteSettings,
        mappings: Mappings,
        client: Client,
        *,
        patients: Patients | None = None,
        directory: Directory | None = None,
        policies: Policies = NO_POLICIES,
    ) -> None:
        self.name = name
        self.settings = settings
        self.mappings = mappings
        self.client = client
        self.patients = patients or Patients(client)
        self.directory = directory or Directory(client, {})
        self.policies = policies

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
        client = Client(transport, listener)
        return cls(
            name,
            settings,
            Mappings(binding, kinds),
            client,
            patients=_patients(client, settings, binding, config),
            directory=_directory(client, settings, binding, config),
            policies=policies(config),
        )

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

    @functools.cached_property
    def act(self) -> Act:
        """What is done, as consents see it, when something is sent there."""
        return act_of(self.settings.consent, self.settings.consent.act)

    @functools.cached_property
    def reading(self) -> Act:
        """The same when something is read from there."""
        return act_of(self.settings.consent, self.settings.consent.pull or self.settings.consent.act)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know before anything is sent there."""
        if self.settings.consent.act != "store":
            return ()
        return (f"site.{self.name}.consent.act is store: everything goes there, whatever patients have signed",)

    @property
    def types(self) -> tuple[str, ...]:
        """The resource types to pull: as set, else those that a kind of record is kept in."""
        every = dict.fromkeys(kind.resource_type for kind in self.mappings.kinds.values())
        return self.settings.types or tuple(every)

    def check(self) -> None:
        """Raise :class:`ConfigError` where settings and server cannot go together, or a crosswalk cannot be read.

        Asks for the server's CapabilityStatement.
        """
        self.patients.check()
        self.directory.check()
        declared, wanted = self.capabilities.fhir_version, Release(self.settings.release)
        if declared is not None and declared.partition(".")[0] != wanted.fhir_version.partition(".")[0]:
            known = re.fullmatch(r"\d+\.\d+\.\d+(-\w+)?", declared)
            said = f"FHIR {declared}" if known else "another release of FHIR"
            message = f"site.{self.name}.release is {wanted.value}, but the server speaks {said}"
            raise ConfigError(message, code="config.release", hint="set release, or check base_url")


def act_of(settings: SiteConsentSettings, name: SiteAct) -> Act:
    """The act ``name`` at a site, as consents see it."""
    return Act(name, _named(settings.recipients), _named(settings.studies), settings.purposes)


def policies(config: Config) -> Policies:
    """What the clinic decides beside its patients: its legal exceptions, and which content is sensitive."""
    return Policies(
        exceptions=tuple(
            LegalException(one.name, one.act, frozenset(one.kinds), one.basis, _named(one.recipients))
            for one in config.consent.exceptions
        ),
        labels=tuple(
            LabelRule(one.label, frozenset(one.kinds), frozenset(map(_pair, one.codes)))
            for one in config.consent.labels
        ),
        zone=zoneinfo.ZoneInfo(config.clinic.time_zone),
    )


def _named(names: Sequence[str]) -> tuple[Ref, ...]:
    return tuple(Ref(identifier=Identifier(system=system, value=value)) for system, value in map(_pair, names))


def _pair(text: str) -> tuple[str, str]:
    system, _, value = text.partition("|")
    return system, value


def _patients(client: Client, settings: SiteSettings, binding: Binding, config: Config) -> Patients:
    known, path = None, settings.patients.crosswalk
    if path is not None:
        known = Known(CrosswalkFile(_beside(config, path), binding.sid("patient")), settings.patients.system)
    return Patients(client, binding.clinic.id_key, known)


def _directory(client: Client, settings: SiteSettings, binding: Binding, config: Config) -> Directory:
    listings: dict[str, Listing] = {
        kind: Listing(CrosswalkFile(_beside(config, one.crosswalk), binding.sid(kind.lower())), one.system)
        for kind, one in settings.directory.items()
    }
    return Directory(client, listings)


def _beside(config: Config, path: Path) -> Path:
    return Path(config.beside(str(path)))
