"""A site that went back to older data: what it holds is an earlier revision of ours, and no change of theirs.

A restored server gives its versions once more, so a version number alone proves nothing.
"""

from __future__ import annotations

from fhirbridge.fhir.json import Tree, parse_object
from fhirbridge.ledger import Known, Ledger, State, Where
from fhirbridge.sync.held import says_the_same, version_of
from fhirbridge.sync.plan import newest_revision, revision_key, revision_of
from fhirbridge.sync.references import without_literals


def is_before(row: Known, theirs: Tree, systems: frozenset[str]) -> bool:
    """Whether a site's copy bears an earlier revision than the site has acknowledged.

    ``systems`` are the code systems of our revision tags.
    """
    newest = newest_revision(theirs, systems)
    acked = row.acked_revision
    return newest is not None and acked is not None and newest < revision_key(revision_of(acked))


def is_ours_of_before(site: str, ledger: Ledger, row: Known, theirs: Tree, systems: frozenset[str]) -> bool:
    """Whether the copy is what an earlier delivery of ours left there, and nobody has written there since."""
    newest, version = newest_revision(theirs, systems), version_of(theirs)
    where = Where(site=site, kind=row.kind, record=row.record, role=row.role, states=(State.ACKED,))
    earlier = [
        one
        for one in ledger.find(where)
        if one.resource == row.resource and revision_key(revision_of(one.revision)) == newest
    ]
    if version is not None and any(one.version == version for one in earlier):
        return True
    bodies = ledger.bodies([one.id for one in earlier])
    return any(says_the_same(parse_object(body), without_literals(theirs)) for body in bodies.values())
