"""One hospital: its settings, the mappings bound to it, its patients, and what it can really do."""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from fhirbridge.audit import SILENCE, Auditor, open_audit
from fhirbridge.client.channel import Channel
from fhirbridge.client.rest import Client, Listener
from fhirbridge.client.transport import Transport
from fhirbridge.config import Config, SiteAct, SiteConsentSettings, SiteSettings
from fhirbridge.connections import connections
from fhirbridge.consent import NO_POLICIES, Act, LabelRule, LegalException, Policies
from fhirbridge.credentials import authorization, token_hosts
from fhirbridge.crosswalk import CrosswalkFile
from fhirbridge.directory import Directory, Listing
from fhirbridge.errors import AuditUnavailable, ConfigError, SiteRefused
from fhirbridge.fhir.capability import Capabilities
from fhirbridge.mapping import Binding, Clinic, Kind, Mappings, Overlay, Release
from fhirbridge.patients import Known, Patients
from fhirbridge.records import Identifier, Ref


def clinic(config: Config) -> Clinic:
    """The clinic as mappings want it, with its id key read. Raises :class:`ConfigError`."""
    settings = config.clinic
    return Clinic(settings.domain, config.id_key(), settings.source, settings.base, settings.other_bases)


def clinic_audit(config: Config) -> Auditor:
    """What hears of what is done to the clinic's own keeping, at no site. Whoever opens it closes it. Raises
    :class:`ConfigError`."""
    return open_audit(config, Binding(clinic(config), Release.R4))


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
        tokens: Channel | None = None,
        audit: Auditor = SILENCE,
    ) -> None:
        self.name = name
        self.settings = settings
        self.mappings = mappings
        self.client = client
        self.patients = patients or Patients(client)
        self.directory = directory or Directory(client, {})
        self.policies = policies
        self.audit = audit
        self._tokens = tokens

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
        overlay = Overlay(**settings.overlay.model_dump())
        binding = Binding(clinic(config), Release(settings.release), overlay)
        mappings = Mappings(binding, kinds)
        types = [kind.resource_type for kind in mappings.kinds.values()]
        channel, tokens = connections(config, settings, *token_hosts(settings))
        transport = Transport(
            settings.base_url,
            authorization=authorization(config, settings, tokens, types),
            channel=channel,
        )
        audit = open_audit(config, binding, name, settings.base_url)
        client = Client(transport, listener, audit)
        client.searches_by_get = settings.can.post_search is False
        return cls(
            name,
            settings,
            mappings,
            client,
            tokens=tokens,
            patients=_patients(client, settings, binding, config),
            directory=_directory(client, settings, binding, config),
            policies=policies(config),
            audit=audit,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self._tokens is not None:
            self._tokens.close()
        try:
            self.audit.close()
        except AuditUnavailable:
            # What ended the work says more.
            if kind is None:
                raise

    @functools.cached_property
    def capabilities(self) -> Capabilities:
        """What the server declares; nothing, if it keeps its CapabilityStatement to itself.

        Raises what asking raises, also where no token is to be had: that says nothing of the server.
        """
        try:
            return self.client.capabilities()
        except SiteRefused as error:
            if error.code != SiteRefused.code:
                raise
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
