"""How to write a resource type to a server so that it arrives once: the ladder of specification §9.3, as a table.

What is known comes in this order: a setting, the type's own declaration where it denies something, a proof by trial, a
declaration, what is presumed. Only one thing is presumed to work unasked: ``PUT Type/id``, because a server that cannot
do it says so aloud. A condition that a server ignores makes duplicates in silence. That a server searches by ``_tag``
is believed on proof or a setting alone: one that declares it and drops the tags finds nothing, ever, and what arrived
would be sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fhirbridge.binding import Release
from fhirbridge.client.proof import AbilityName, Proof
from fhirbridge.client.trials import IDEMPOTENCY_HEADER
from fhirbridge.config import EVERY_TYPE, SiteSettings, WriteName
from fhirbridge.fhir.capability import Capabilities

# What finds a resource whose id is not known.
Key: TypeAlias = Literal["id", "identifier", "_tag", "content"]
Form: TypeAlias = Literal["transaction", "batch", "single"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to write. ``key`` finds the resource when an answer was lost; ``needs`` are abilities of the server,
    ``interaction`` is what a type must allow.

    ``guarded``: the server itself refuses a second one. ``conditional``: the request names a search. ``alone``: never
    in a bundle. ``one_writer``: safe only while nobody else writes the same resource.
    """

    name: WriteName
    key: Key
    needs: tuple[AbilityName, ...]
    interaction: Literal["create", "update"]
    guarded: bool = False
    conditional: bool = False
    alone: bool = False
    one_writer: bool = False


# The safest first: a primary key, a key that the server remembers, a search in the server's own transaction, a search
# of ours. A search and an insert are two steps on most servers, so what rests on them has one writer at a time.
LADDER: tuple[Rung, ...] = (
    Rung("client-id", "id", ("update_create",), "update", guarded=True),
    Rung("idempotency-key", "identifier", ("idempotency_key",), "create", guarded=True, alone=True),
    Rung("conditional-update", "identifier", ("conditional_update",), "update", conditional=True, one_writer=True),
    Rung("conditional-create", "identifier", ("conditional_create",), "create", conditional=True, one_writer=True),
    Rung(
        "conditional-create-tag",
        "_tag",
        ("conditional_create_tag", "tag_search"),
        "create",
        conditional=True,
        one_writer=True,
    ),
    Rung("search-then-create", "identifier", ("create", "identifier_search"), "create", one_writer=True),
    Rung("search-then-create", "_tag", ("create", "tag_search"), "create", one_writer=True),
    Rung("search-then-create", "content", ("create",), "create", one_writer=True),
)

# Types that no standard search finds by identifier (T7; Provenance has none at all). One record makes at most one of
# each, so the tag with the record's key tells them apart; of other types it would find several.
_NO_IDENTIFIER = frozenset(
    {
        ("AdverseEvent", Release.R4),
        ("AdverseEvent", Release.R4B),
        *(("Provenance", release) for release in Release),
    }
)
# The search parameters that narrow a type down to one event of one patient; what is found is compared with ours.
CONTENT_SEARCH: dict[str, tuple[str, ...]] = {
    "AdverseEvent": ("subject", "date"),
    "MedicationAdministration": ("patient", "effective-time"),
    "Observation": ("patient", "code", "date"),
    "Procedure": ("patient", "date"),
}
# R5 gave AdverseEvent a patient and MedicationAdministration's time another name.
CONTENT_SEARCH_R5 = CONTENT_SEARCH | {
    "AdverseEvent": ("patient", "date"),
    "MedicationAdministration": ("patient", "date"),
}
_PRESUMED: frozenset[AbilityName] = frozenset({"update_create", "create"})


@dataclass(frozen=True, slots=True)
class Strategy:
    """How one resource type is written to one server.

    ``create_guard``: ``If-None-Match: *`` on a first write is heeded. ``if_match``: updates name the version they
    replace. ``updates``: the type can be updated at all. ``bare``: ``ifNoneExist`` in a bundle is the bare query.
    ``header`` carries an idempotency key. ``index_lag`` is in seconds, ``None`` if not known.
    """

    rung: Rung
    resource_type: str
    release: Release
    create_guard: bool = False
    if_match: bool = True
    updates: bool = True
    bare: bool = True
    header: str = IDEMPOTENCY_HEADER
    index_lag: float | None = None

    @property
    def name(self) -> WriteName:
        """The strategy's name, as in the configuration."""
        return self.rung.name


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a type cannot be written safely to a server, and what would change that."""

    reason: Literal["read-only", "if-match-ignored", "no-safe-write"]
    message: str
    hint: str


def choose(
    resource_type: str, release: Release, settings: SiteSettings, proof: Proof | None, declared: Capabilities
) -> Strategy | Refusal:
    """The first rung that holds, the one a setting forces, or why there is none."""
    known = _Known(resource_type, release, settings, proof, declared)
    rung = known.forced() or next((rung for rung in LADDER if known.holds(rung)), None)
    if rung is None:
        return known.refusal()
    updates = known.allows("update")
    ignored = proof is not None and proof.proven("if_match") is False
    if updates and ignored and settings.can.if_match is None:
        message = "the server ignores If-Match: a change made there would be overwritten without a word"
        return Refusal("if-match-ignored", message, "set can.if_match = false to accept that")
    lag = settings.can.index_lag
    return Strategy(
        rung,
        resource_type,
        release,
        create_guard=known.able("if_none_match"),
        if_match=settings.can.if_match is not False,
        updates=updates,
        bare=known.stated("bare_if_none_exist") is not False,
        header=settings.can.idempotency_key or IDEMPOTENCY_HEADER,
        index_lag=lag if lag is not None or proof is None else proof.index_lag,
    )


def form(settings: SiteSettings, proof: Proof | None, declared: Capabilities) -> Form:
    """How several resources travel: in a transaction where that is all or nothing, else in a batch, else one by one."""
    if settings.transaction != "auto":
        return settings.transaction
    transaction = _settled(settings.can.transaction, proof, "transaction", "transaction" in declared.system or None)
    batch = _settled(settings.can.batch, proof, "batch", "batch" in declared.system or None)
    # A server that says nothing mostly has transactions; one that declares batches alone has not.
    if transaction or (transaction is None and batch is not True):
        return "transaction"
    return "single" if batch is False else "batch"


def entries(settings: SiteSettings, proof: Proof | None) -> int:
    """The most entries of one bundle: as set, and not more than passed in the trial."""
    passed = proof.entries.passed if proof is not None and proof.entries is not None else settings.bundle_entries
    return min(settings.bundle_entries, passed)


@dataclass(frozen=True, slots=True)
class _Known:
    """All that is known of one type on one server."""

    type: str
    release: Release
    settings: SiteSettings
    proof: Proof | None
    declared: Capabilities

    def forced(self) -> Rung | None:
        """The rung that a setting names; of those with that name the first that holds, or whose key this type has."""
        wanted = self.settings.write.get(self.type) or self.settings.write.get(EVERY_TYPE)
        named = [rung for rung in LADDER if rung.name == wanted]
        fitting = [*filter(self.holds, named), *filter(self._has_key, named), *named]
        return next(iter(fitting), None)

    def holds(self, rung: Rung) -> bool:
        """Whether a rung holds: the type allows it, can be found again, and the server is able to."""
        return self.allows(rung.interaction) and self._has_key(rung) and all(self.able(one) for one in rung.needs)

    def allows(self, interaction: str) -> bool:
        """Whether the type's declaration leaves room for an interaction; a setting can overrule it for updates."""
        declared = self.declared.of(self.type).interactions
        overruled = interaction == "update" and self.settings.can.update_create is True
        return overruled or not declared or interaction in declared

    def _has_key(self, rung: Rung) -> bool:
        match rung.key:
            case "id":
                return True
            case "identifier":
                return rung.guarded or self._has_identifier()
            case "_tag":
                return (self.type, self.release) in _NO_IDENTIFIER
            case "content":
                return self.type in CONTENT_SEARCH and not self._has_identifier()

    def _has_identifier(self) -> bool:
        if self.settings.can.identifier_search is False:
            return False
        search = self.declared.of(self.type).search
        return "identifier" in search if search else (self.type, self.release) not in _NO_IDENTIFIER

    def able(self, name: AbilityName) -> bool:
        """Whether the server is able to do something, for this type."""
        stated = self.stated(name)
        return stated if stated is not None else name in _PRESUMED

    def stated(self, name: AbilityName) -> bool | None:
        """What a setting, a proof or, where it is believed, the declaration says of an ability."""
        return _settled(_setting(self.settings, name), self.proof, name, self._claimed(name))

    def _claimed(self, name: AbilityName) -> bool | None:
        said = self.declared.of(self.type)
        match name:
            case "update_create":
                return said.update_create
            case "conditional_create":
                return said.conditional_create
            case "conditional_create_tag":
                return said.conditional_create and ("_tag" in said.search or None)
            case "conditional_update":
                return said.conditional_update
            case "identifier_search":
                return "identifier" in said.search if said.search else None
            case _:
                return None

    def refusal(self) -> Refusal:
        """Why no rung holds."""
        if not self.allows("create") and not self.allows("update"):
            message = f"the server lets nobody create or update {self.type}"
            return Refusal("read-only", message, "ask the server's operator for it, or leave the kind out")
        message = (
            f"the server has no safe way to write {self.type}: it takes no ids of ours, heeds no condition, and cannot "
            "be searched for what a lost answer left open"
        )
        tags = (self.type, self.release) in _NO_IDENTIFIER and self.stated("tag_search") is None
        known = (
            "can.tag_search = true, if the site keeps tags and finds by them" if tags else "write, if you know a way"
        )
        return Refusal("no-safe-write", message, f"run: fhirbridge probe SITE --write; or set {known}")


def _settled(setting: bool | None, proof: Proof | None, name: AbilityName, claimed: bool | None) -> bool | None:
    if setting is not None:
        return setting
    proven = proof.proven(name) if proof is not None else None
    return proven if proven is not None else claimed


def _setting(settings: SiteSettings, name: AbilityName) -> bool | None:
    can = settings.can
    by_name: dict[AbilityName, bool | None] = {
        "update_create": can.update_create,
        "if_match": can.if_match,
        "if_none_match": can.if_none_match,
        "conditional_create": can.conditional_create,
        "conditional_create_tag": can.conditional_create,
        "conditional_update": can.conditional_update,
        "bare_if_none_exist": can.bare_if_none_exist,
        "idempotency_key": True if can.idempotency_key else None,
        "identifier_search": can.identifier_search,
        "tag_search": can.tag_search,
        "transaction": can.transaction,
        "batch": can.batch,
    }
    return by_name.get(name)
