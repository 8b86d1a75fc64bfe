"""What is constant for one site: the clinic, the FHIR release and the site's wishes.

A mapping is bound once; everything that does not vary from record to record is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

BASE = "https://fhirbridge.example/fhir"
MAPPING_VERSION = "1.0"
_BLOCK = 64


class Release(StrEnum):
    """A FHIR release."""

    R4 = "r4"
    R4B = "r4b"
    R5 = "r5"

    @property
    def fhir_version(self) -> str:
        """The version number in FHIR's own words."""
        return {"r4": "4.0.1", "r4b": "4.3.0", "r5": "5.0.0"}[self.value]

    @property
    def is_r5(self) -> bool:
        """R4B differs from R4 in no element of our resources (decision D8); R5 does."""
        return self is Release.R5


@dataclass(frozen=True, slots=True)
class Clinic:
    """Who writes: the domain owns the identifier systems, the id key the resource ids.

    ``base`` is the canonical base of our extensions and code systems; readers accept ``other_bases`` too.
    """

    domain: str
    id_key: bytes = field(repr=False)
    source: str = ""
    base: str = BASE
    other_bases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Overlay:
    """What one server wants otherwise (specification T5, T6, T8, §3.3)."""

    r4_core_ae_codes: bool = False
    single_coding_required_bindings: bool = False
    us_core_o2_flow_component: bool = False
    us_core: bool = False
    secondary_codes: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """A clinic, a release and an overlay: all that a mapping may know beside the record."""

    clinic: Clinic
    release: Release
    overlay: Overlay = Overlay()
    # The two keyed hashes of HMAC (RFC 2104), ready to be copied: an object of ``hmac`` costs half as much again.
    _inner: _Hash = field(init=False, repr=False, compare=False)
    _outer: _Hash = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        key = self.clinic.id_key if len(self.clinic.id_key) <= _BLOCK else sha256(self.clinic.id_key).digest()
        block = key.ljust(_BLOCK, b"\0")
        inner = bytes(byte ^ 0x36 for byte in block) + f"{self.clinic.domain}|".encode()
        object.__setattr__(self, "_inner", sha256(inner))
        object.__setattr__(self, "_outer", sha256(bytes(byte ^ 0x5C for byte in block)))

    @property
    def bases(self) -> tuple[str, ...]:
        """The canonical bases a reader accepts; the first is the one that is written."""
        return (self.clinic.base, *self.clinic.other_bases)

    @property
    def source(self) -> str:
        """What ``meta.source`` says when a record names no system of its own."""
        return self.clinic.source or f"https://{self.clinic.domain}/fhirbridge"

    def code_system(self, name: str) -> str:
        """The URL of one of our code systems."""
        return f"{self.clinic.base}/CodeSystem/{name}"

    def code_systems(self, name: str) -> frozenset[str]:
        """The URLs under which a reader takes a code system for ours."""
        return frozenset(f"{base}/CodeSystem/{name}" for base in self.bases)

    def sid(self, name: str) -> str:
        """The identifier system of one kind of thing (specification §9.1)."""
        return f"https://{self.clinic.domain}/sid/{name}"

    def resource_id(self, kind: str, record_id: str, role: str = "primary") -> str:
        """The deterministic resource id (design §5): keyed, so that nothing can be guessed from a URL.

        A letter comes first, for HAPI refuses ids made of digits alone.
        """
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(f"{kind}|{record_id}|{role}".encode())
        outer.update(inner.digest())
        return "f" + outer.hexdigest()[:32]
