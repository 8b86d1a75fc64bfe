"""What to do when a write did not simply succeed: one table, read from top to bottom, the first row that fits.

Nothing here sends, waits or looks at a clock. A doubt is never answered by sending again: ``look`` hands it to the
strategy's own rule (:mod:`fhirbridge.sync.doubt`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self, TypeAlias

from fhirbridge.client.patience import Notice
from fhirbridge.errors import SiteError, SiteRefused, SiteUnreachable, SiteUntrusted
from fhirbridge.fhir.outcome import OVER_LIMIT
from fhirbridge.sync.pace import wait
from fhirbridge.sync.writing import Write


class Do(StrEnum):
    """What to do next.

    ``again``: certainly not done; send again at the time given. ``look``: nobody knows; ask as the strategy says.
    ``refresh``: a new token, once, and again. ``stop``: nothing more to this site until somebody acts. ``halve``: the
    bundle is too large; remember that. ``bisect``: one entry spoils the rest; send parts. ``merge``: read again and
    merge. ``confirm``: it is there already if the answer names our resource. ``reject``: the site says that the content
    is wrong. ``park``: a person has to look.
    """

    AGAIN = "again"
    LOOK = "look"
    REFRESH = "refresh"
    STOP = "stop"
    HALVE = "halve"
    BISECT = "bisect"
    MERGE = "merge"
    CONFIRM = "confirm"
    REJECT = "reject"
    PARK = "park"


class Failure(StrEnum):
    """What happened instead of an answer."""

    UNSENT = "unsent"
    """No byte had left: refused, no such host, TLS."""
    BROKEN = "broken"
    """Reset or silent after the first byte."""
    UNBELIEVABLE = "unbelievable"
    """An answer that is cut short, no FHIR, or too large."""
    MISLED = "misled"
    """The site sends elsewhere: nothing was, or will be, sent there."""


class Trait(StrEnum):
    """What a row may ask of the request and its answer."""

    ENTRY = "entry"
    """It is about one entry of a bundle that was answered entry by entry."""
    BUNDLE = "bundle"
    """The request is a bundle."""
    MANY = "many"
    """It is about several resources at once."""
    WRITE = "write"
    """It writes."""
    GUARDED = "guarded"
    """The server itself refuses a second one."""
    KEYED = "keyed"
    """It carries an idempotency key."""
    CONDITIONAL = "conditional"
    """It names a search as its condition."""
    VERSIONED = "versioned"
    """It names a version as its condition."""
    REFRESHED = "refreshed"
    """The token was renewed for this already."""
    LIMIT = "limit"
    """The answer speaks of a limit on bundles or bodies."""
    RACE = "race"
    """The answer says that two writers met."""
    SEVERAL = "several"
    """The answer says that the condition matched several resources."""


Scope: TypeAlias = Literal["site", "request", "entry"]

# HAPI's words for losing a race to the same new id or match URL; HAPI-0989 is a stale If-Match, and no race.
_RACES = frozenset({"HAPI-0823", "HAPI-0825", "HAPI-2745", "lock-error"})
_SEVERAL = frozenset({"multiple-matches", "HAPI-0958"})
_LIMITS = frozenset({OVER_LIMIT, "too-costly"})


@dataclass(frozen=True, slots=True)
class Happened:
    """What came of a request, or of one entry: a failure or a status, with what the answer said."""

    failure: Failure | None = None
    status: int | None = None
    signals: frozenset[str] = frozenset()
    retry_after: str | None = None
    entry: bool = False

    @classmethod
    def of(cls, error: SiteError) -> Self:
        """What an error means. A :class:`SiteError` of no finer class counts as an answer not to be believed."""
        match error:
            case SiteUnreachable():
                return cls(Failure.BROKEN if error.sent else Failure.UNSENT)
            case SiteRefused():
                return cls(None, error.status, error.signals, error.retry_after)
            case SiteUntrusted(code="site.redirect" | "site.foreign_link"):
                return cls(Failure.MISLED)
            case _:
                return cls(Failure.UNBELIEVABLE)

    @classmethod
    def of_entry(cls, status: int | None, signals: Iterable[str] = (), retry_after: str | None = None) -> Self:
        """What one entry's answer means; ``retry_after`` is the header of the whole answer, if it had one."""
        failure = Failure.UNBELIEVABLE if status is None else None
        return cls(failure, status, frozenset(signals), retry_after, entry=True)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent: how many resources, in a bundle or alone, under which conditions.

    ``attempt`` counts from 1; of a site that fails again and again, hand in the larger of the request's and the site's
    own count. ``others_pass``: the site has done work for others since this was first tried. An outage does not use up
    the attempts of everything that waits for its end; what fails alone does.
    """

    resources: int = 1
    bundle: bool = False
    writes: bool = True
    guarded: bool = False
    keyed: bool = False
    conditional: bool = False
    versioned: bool = False
    refreshed: bool = False
    attempt: int = 1
    others_pass: bool = True

    @classmethod
    def of(
        cls, writes: Sequence[Write], *, bundle: bool, attempt: int, refreshed: bool = False, others_pass: bool = True
    ) -> Self:
        """A request that holds these writes; for the verdict on one entry, that one write."""
        return cls(
            resources=len(writes),
            bundle=bundle,
            guarded=all(one.guarded for one in writes),
            keyed=any(one.key is not None for one in writes),
            conditional=any(one.conditional for one in writes),
            versioned=any(one.versioned for one in writes),
            refreshed=refreshed,
            attempt=attempt,
            others_pass=others_pass,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One row: when it applies, what to do, why, and for how long.

    ``scope`` says whose trouble it is. ``most`` bounds the attempts, after which ``then`` is done instead; for a doubt
    ``then`` is what follows when looking finds nothing. Without ``most`` the wait alone bounds the pace. ``outage``: it
    may be the whole site's trouble, so the attempts run out only while others pass.
    """

    name: str
    when: frozenset[int | Failure]
    do: Do
    reason: str
    scope: Scope = "request"
    needs: tuple[Trait, ...] = ()
    lacks: tuple[Trait, ...] = ()
    most: int | None = None
    then: Do = Do.PARK
    outage: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, not before ``at`` (epoch seconds), and why.

    ``scope`` "site" holds up everything for the site until ``at``, "entry" this one resource alone. With ``look``,
    ``then`` is what follows if nothing is found: again, bisect or park. ``notice`` says what was odd about Retry-After.
    """

    do: Do
    at: float
    reason: str
    scope: Scope
    row: str
    then: Do = Do.AGAIN
    notice: Notice | None = None


def _on(*what: int | Failure) -> frozenset[int | Failure]:
    return frozenset(what)


_T = Trait
_4XX = frozenset(range(400, 500))
_5XX = frozenset(range(500, 600))
_BUSY = _on(425, 429, 503)
_GATEWAY = _on(408, 502, 504)
_BROKEN = _on(Failure.BROKEN)
_NO_FHIR = _on(Failure.UNBELIEVABLE)
_NO_PLACE = _on(404, 405, 406, 415, 501)

# fmt: off
TABLE: tuple[Row, ...] = (
    # No answer.
    Row("unsent", _on(Failure.UNSENT), Do.AGAIN, "unreachable", "site"),
    Row("misled", _on(Failure.MISLED), Do.STOP, "redirected", "site"),
    Row("garbled read", _BROKEN | _NO_FHIR, Do.AGAIN, "unreachable", "site", lacks=(_T.WRITE,)),
    Row("silent entry", _NO_FHIR, Do.LOOK, "unproven", "entry", (_T.ENTRY,), most=5),
    Row("broken bundle", _BROKEN, Do.LOOK, "broken-off", "request", (_T.MANY,), (), 3, Do.BISECT, outage=True),
    Row("broken", _BROKEN, Do.LOOK, "broken-off", most=8, outage=True),
    Row("no FHIR, bundle", _NO_FHIR, Do.LOOK, "no-fhir", "site", (_T.MANY,), (), 3, Do.BISECT, outage=True),
    Row("no FHIR", _NO_FHIR, Do.LOOK, "no-fhir", "site", most=8, outage=True),
    # The server asks for patience, and has done nothing. Without any guard 503 is not trusted to mean that.
    Row("throttled entry", _BUSY, Do.AGAIN, "throttled", "entry", (_T.ENTRY,), most=12, outage=True),
    Row("no guard", _on(503), Do.LOOK, "unavailable", "site", (_T.WRITE,), (_T.GUARDED, _T.CONDITIONAL)),
    Row("throttled", _BUSY, Do.AGAIN, "throttled", "site"),
    # A gateway gave up; what stood behind it may not have.
    Row("gateway read", _GATEWAY, Do.AGAIN, "gateway", "site", lacks=(_T.WRITE,)),
    Row("gateway entry", _GATEWAY, Do.LOOK, "gateway", "entry", (_T.ENTRY,), most=5, outage=True),
    Row("gateway bundle", _GATEWAY, Do.LOOK, "gateway", "site", (_T.MANY,), (), 3, Do.BISECT, outage=True),
    Row("gateway", _GATEWAY, Do.LOOK, "gateway", "site", most=8, outage=True),
    # Size. Azure says 400 and means 413.
    Row("too large", _on(413), Do.HALVE, "too-large", "request", (_T.MANY,)),
    Row("too large alone", _on(413), Do.PARK, "too-large", "entry"),
    Row("limit", _4XX - _on(401), Do.HALVE, "too-large", "request", (_T.MANY, _T.LIMIT)),
    # Who is asking: one new token, or an account gets locked.
    Row("token", _on(401), Do.REFRESH, "unauthorized", "site", lacks=(_T.REFRESHED,)),
    Row("token for entry", _on(401), Do.PARK, "unauthorized", "entry", (_T.ENTRY,)),
    Row("token again", _on(401), Do.STOP, "unauthorized", "site"),
    # The address takes no bundles, or is none.
    Row("no bundles", _NO_PLACE, Do.STOP, "no-bundles", "site", (_T.BUNDLE,), (_T.ENTRY,)),
    # Two writers met. A key or a condition makes it safe to send again; an id may now hold something else.
    Row("repeated key", _on(409), Do.CONFIRM, "repeated", "entry", (_T.KEYED,)),
    Row("race in bundle", _on(409), Do.AGAIN, "race", "request", (_T.MANY, _T.RACE), (), 4, Do.BISECT),
    # One of them spoils the rest; it is found by sending parts.
    Row("bundle refused", _4XX, Do.BISECT, "bundle-refused", "request", (_T.MANY,)),
    Row("race", _on(409), Do.AGAIN, "race", "entry", (_T.CONDITIONAL,), most=6),
    Row("conflict", _on(409), Do.MERGE, "conflict", "entry", most=6),
    Row("locked", _on(423), Do.AGAIN, "locked", "entry", most=6),
    Row("several match", _on(412), Do.PARK, "several-match", "entry", (_T.SEVERAL,)),
    Row("condition", _on(412), Do.LOOK, "condition", "entry", (_T.CONDITIONAL,), (_T.VERSIONED,), 3),
    Row("stale", _on(412, 428), Do.MERGE, "conflict", "entry", most=6),
    # A verdict on one resource.
    Row("wrong", _on(400, 422), Do.REJECT, "refused", "entry"),
    Row("forbidden", _on(403), Do.PARK, "forbidden", "entry"),
    Row("not found", _on(404), Do.PARK, "not-found", "entry"),
    Row("not allowed", _on(405, 501), Do.PARK, "not-allowed", "entry"),
    Row("gone", _on(410), Do.PARK, "gone", "entry"),
    Row("other refusal", _4XX, Do.PARK, "refused", "entry"),
    # The server failed: before, during or after its work.
    Row("failed read", _5XX, Do.AGAIN, "server-error", most=5, lacks=(_T.WRITE,), outage=True),
    Row("failed bundle", _5XX, Do.LOOK, "server-error", "request", (_T.MANY,), (), 3, Do.BISECT, outage=True),
    Row("failed", _5XX, Do.LOOK, "server-error", "entry", most=3, outage=True),
    # It speaks of success and proves nothing (202, no version), or of nothing that is known.
    Row("unproven read", frozenset(range(100, 400)), Do.AGAIN, "unproven", lacks=(_T.WRITE,), most=5),
    Row("unproven", frozenset(range(1000)), Do.LOOK, "unproven", "entry", most=5),
)
# fmt: on


def decide(happened: Happened, sent: Sent, *, now: float, chance: float) -> Decision:
    """What to do about what happened. ``now`` is in epoch seconds, ``chance`` a number from 0 up to 1."""
    row = row_for(happened, sent)
    due = wait(sent.attempt, happened.retry_after, now, chance)
    spent = row.most is not None and sent.attempt >= row.most and (sent.others_pass or not row.outage)
    do, then = row.do, Do.AGAIN
    if spent and row.do is Do.LOOK:
        # What may have been done is not given up unseen: first look, then do otherwise.
        then = row.then
    elif spent:
        do = row.then
    return Decision(do, due.until if do in _WAITING else now, row.reason, row.scope, row.name, then, due.notice)


def row_for(happened: Happened, sent: Sent) -> Row:
    """The row that applies."""
    traits = _traits_of(happened, sent)
    what = happened.failure if happened.failure is not None else happened.status
    fits = (row for row in TABLE if what in row.when and traits.issuperset(row.needs) and traits.isdisjoint(row.lacks))
    return next(fits, TABLE[-1])


_WAITING = frozenset({Do.AGAIN, Do.LOOK, Do.MERGE})


def _traits_of(happened: Happened, sent: Sent) -> frozenset[Trait]:
    held = {
        Trait.ENTRY: happened.entry,
        Trait.BUNDLE: sent.bundle,
        Trait.MANY: sent.resources > 1 and not happened.entry,
        Trait.WRITE: sent.writes,
        Trait.GUARDED: sent.guarded,
        Trait.KEYED: sent.keyed,
        Trait.CONDITIONAL: sent.conditional,
        Trait.VERSIONED: sent.versioned,
        Trait.REFRESHED: sent.refreshed,
        Trait.LIMIT: not _LIMITS.isdisjoint(happened.signals),
        Trait.RACE: not _RACES.isdisjoint(happened.signals),
        Trait.SEVERAL: not _SEVERAL.isdisjoint(happened.signals),
    }
    return frozenset(trait for trait, is_so in held.items() if is_so)
