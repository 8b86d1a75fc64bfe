"""``fhirbridge.toml`` and the environment, read once into frozen settings. Nothing else reads either.

The file is the one named on the command line, else the one named by ``FHIRBRIDGE_CONFIG``, else ``fhirbridge.toml`` in
the working directory; without any of them the settings are those of the demo clinic. A secret never stands in the file:
it is named there (``{env = "NAME"}``, ``{file = "path"}``, a keyring, a command) and read when it is needed.
"""

from __future__ import annotations

from fhirbridge.config.audit import AuditSettings
from fhirbridge.config.auth import (
    AuthSettings,
    BasicAuth,
    BearerAuth,
    ClientCredentialsAuth,
    KeySettings,
    NoAuth,
    SmartBackendAuth,
)
from fhirbridge.config.clinic import DEMO_DOMAIN, ClinicSettings, LedgerSettings
from fhirbridge.config.consent import (
    AfterWithdrawal,
    ConsentSettings,
    ExceptionSettings,
    LabelSettings,
    SiteAct,
    SiteConsentSettings,
)
from fhirbridge.config.loaded import DEMO_ID_KEY, FILE_NAME, LEDGER_FILE, VARIABLE, Config, load
from fhirbridge.config.research import ResearchSettings
from fhirbridge.config.secret import Secret
from fhirbridge.config.settings import Settings, parse
from fhirbridge.config.site import (
    EVERY_TYPE,
    CanSettings,
    DirectoryType,
    ListingSettings,
    OverlaySettings,
    PatientSettings,
    SiteSettings,
    WriteName,
)
from fhirbridge.config.source import SourceSettings
from fhirbridge.config.tls import NetworkSettings, TlsSettings
from fhirbridge.config.vault import DEMO_VAULT_KEY, VaultSettings

__all__ = [
    "DEMO_DOMAIN",
    "DEMO_ID_KEY",
    "DEMO_VAULT_KEY",
    "EVERY_TYPE",
    "FILE_NAME",
    "LEDGER_FILE",
    "VARIABLE",
    "AfterWithdrawal",
    "AuditSettings",
    "AuthSettings",
    "BasicAuth",
    "BearerAuth",
    "CanSettings",
    "ClientCredentialsAuth",
    "ClinicSettings",
    "Config",
    "ConsentSettings",
    "DirectoryType",
    "ExceptionSettings",
    "KeySettings",
    "LabelSettings",
    "LedgerSettings",
    "ListingSettings",
    "NetworkSettings",
    "NoAuth",
    "OverlaySettings",
    "PatientSettings",
    "ResearchSettings",
    "Secret",
    "Settings",
    "SiteAct",
    "SiteConsentSettings",
    "SiteSettings",
    "SmartBackendAuth",
    "SourceSettings",
    "TlsSettings",
    "VaultSettings",
    "WriteName",
    "load",
    "parse",
]
