"""What a look at the site says about a resource that is to be written: send it, leave it, merge it, or ask people.

Pure. A site's copy may be ours of an earlier revision, ours of this one (the ledger was lost, or the answer was),
changed by the hospital since, void, or deleted. It is never written over unseen; a deleted one is not brought back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fhirbridge.fhir.bundle import Copy
from fhirbridge.fhir.json import Json, Tree
from fhirbridge.ledger import Server
from fhirbridge.sync.held import says_the_same, version_of
from fhirbridge.sync.plan import RevisionKey, newest_revision
from fhirbridge.sync.references import without_literals
from fhirbridge.sync.retraction import is_retracted

Do: TypeAlias = Literal["send", "adopt", "merge", "park"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be done, over which version of the site's copy, and why; ``server`` is what was learnt of it."""

    do: Do
    server: Server
    version: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ours:
    """What we want to write: the resource without literal references, its revision, and what the ledger knows of the
    site's copy (``version`` as last acknowledged, ``acked`` whether anything was)."""

    resource: Tree
    revision: RevisionKey
    server: Server = Server.UNSEEN
    version: str | None = None
    acked: bool = False


def judge(ours: Ours, copy: Copy, chart: str | None, revision_systems: frozenset[str]) -> Judgement:
    """Judge one resource by the site's ``copy``.

    ``chart`` is the address of its patient there, ``revision_systems`` are the code systems of our revision tags.
    """
    theirs = copy.resource
    if copy.gone:
        return Judgement("park", Server.GONE, reason="site.gone")
    if theirs is None:
        # It was there: somebody removed it, and some servers say 404 of that. Who says so may have it sent again.
        lost = ours.acked and ours.server is Server.PRESENT
        return Judgement("park", Server.PRESENT, reason="site.missing") if lost else Judgement("send", Server.ABSENT)
    version = version_of(theirs)
    if _other_chart(theirs, chart):
        return Judgement("park", Server.CONFLICT, version, "conflict.patient")
    if says_the_same(ours.resource, without_literals(theirs)):
        return Judgement("adopt", Server.PRESENT, version)
    if ours.acked:
        # Ours of before, untouched since: an update. Else somebody has written there too.
        untouched = version is not None and version == ours.version
        return Judgement("send" if untouched else "merge", Server.PRESENT, version)
    newest = newest_revision(theirs, revision_systems)
    if newest is None:
        return Judgement("park", Server.CONFLICT, version, "conflict.unknown")
    if newest > ours.revision:
        return Judgement("adopt", Server.PRESENT, version, "site.newer")
    if newest == ours.revision:
        reason = "conflict.retracted" if is_retracted(theirs) else "conflict.unknown"
        return Judgement("park", Server.CONFLICT, version, reason)
    return Judgement("send", Server.PRESENT, version)


def _other_chart(theirs: Tree, chart: str | None) -> bool:
    """Whether a copy belongs to another patient than the one that was resolved."""
    subject = theirs.get("subject", theirs.get("patient"))
    literal: Json = subject.get("reference") if isinstance(subject, dict) else None
    if chart is None or not isinstance(literal, str):
        return False
    # Absolute or relative, with or without a version.
    steps = literal.partition("/_history/")[0].split("/")
    return steps[-2:] != chart.split("/")
