"""From what a lane hands out to what must really be written: patient, look, judgement. Nothing is sent here.

Whatever needs no sending is settled on the way: what the site holds already, what must not go, what is to be withdrawn
and was never there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fhirbridge.client.rest import NO_POST_SEARCH, Client
from fhirbridge.errors import Fault, SiteRefused
from fhirbridge.fhir.bundle import ABSENT, Address, Copy, next_link, resources
from fhirbridge.fhir.json import Tree, parse_object
from fhirbridge.ledger import Action, Delivery, Server, State
from fhirbridge.sync.before import is_before, is_ours_of_before
from fhirbridge.sync.bench import Bench
from fhirbridge.sync.conflict import merge
from fhirbridge.sync.doubt import Look, carries, look
from fhirbridge.sync.draft import Draft, Settlement, acked, body_of, set_aside
from fhirbridge.sync.held import read_copies, read_copy, version_of
from fhirbridge.sync.judge import Judgement, Ours, judge
from fhirbridge.sync.plan import revision_key, revision_of
from fhirbridge.sync.reason import Reason
from fhirbridge.sync.references import Pointer, pointers, with_literals, without_literals
from fhirbridge.sync.resolve import patient_of, patient_pointer
from fhirbridge.sync.retraction import BY_DELETE, is_retracted, retraction
from fhirbridge.sync.strategy import Refusal, Strategy
from fhirbridge.sync.writing import Target, target_of


@dataclass(slots=True)
class Prepared:
    """What of a lane has to be sent, what is settled without, and the patient's chart."""

    drafts: list[Draft] = field(default_factory=list)
    settled: list[Settlement] = field(default_factory=list)
    chart: Address | None = None


def prepare(bench: Bench, deliveries: Sequence[Delivery]) -> Prepared:
    """Look at everything a lane hands out. Raises :class:`SiteError` where the site does not answer properly."""
    prepared = Prepared()
    ways: dict[int, Strategy] = {}
    bodies = {one.id: body_of(one) for one in deliveries}
    for one in deliveries:
        strategy = bench.ways.of(one.resource_type)
        if isinstance(strategy, Refusal):
            fault = Fault(f"write.{strategy.reason}", "", strategy.message, strategy.hint)
            prepared.settled.append(set_aside(one, State.PARKED, fault.code, (fault,)))
        else:
            ways[one.id] = strategy
    going = [one for one in deliveries if one.id in ways]
    wrong = _find_patient(bench, going, bodies, prepared)
    if wrong is not None:
        refused = [one for one in going if one.action is Action.PUT]
        prepared.settled += [set_aside(one, State.PARKED, wrong.code, (wrong,)) for one in refused]
        going = [one for one in going if one.action is Action.RETRACT]
    going = _without_strangers(bench, going, bodies, prepared)
    bench.at("after-consent")
    copies = _look(bench, going, ways, bodies)
    for one in going:
        copy, several = copies.get(one.id, (ABSENT, 1))
        if several is None:
            prepared.settled.append(set_aside(one, State.PARKED, OPEN.code, (OPEN,)))
        elif several > 1:
            prepared.settled.append(set_aside(one, State.PARKED, _SEVERAL.code, (_SEVERAL,), server=Server.CONFLICT))
        elif one.action is Action.RETRACT:
            _retract(bench, one, ways[one.id], copy, prepared)
        else:
            body = bodies[one.id]
            assert body is not None
            _put(bench, one, ways[one.id], body, copy, prepared)
    return prepared


def _find_patient(
    bench: Bench, going: Iterable[Delivery], bodies: dict[int, Tree | None], prepared: Prepared
) -> Fault | None:
    """Find the lane's chart; the reason why its records must not go, where it is not certain."""
    for one in going:
        body = bodies[one.id]
        patient = patient_of(body) if body is not None and one.action is Action.PUT else None
        if patient is not None:
            found = bench.site.patients.find(patient, bench.clock())
            if isinstance(found, Fault):
                return found
            prepared.chart = found
            return None
    return None


def _without_strangers(
    bench: Bench, going: Sequence[Delivery], bodies: dict[int, Tree | None], prepared: Prepared
) -> list[Delivery]:
    """What names another patient's record is set aside: one of the two references is wrong, and nobody knows which."""
    named = {
        one.id: frozenset(pointers(body))
        for one in going
        if one.action is Action.PUT and (body := bodies[one.id]) is not None
    }
    if not named:
        return list(going)
    strangers = bench.elsewhere.strangers(frozenset[Pointer]().union(*named.values()), going[0].lease.key)
    wrong = {number for number, pointed in named.items() if not strangers.isdisjoint(pointed)}
    prepared.settled += [set_aside(one, State.PARKED, _STRANGER.code, (_STRANGER,)) for one in going if one.id in wrong]
    return [one for one in going if one.id not in wrong]


def _look(
    bench: Bench, going: Iterable[Delivery], ways: dict[int, Strategy], bodies: dict[int, Tree | None]
) -> dict[int, tuple[Copy, int | None]]:
    """The site's copy of each resource that may have one, and how many there are; ``None`` if it does not say."""
    wanted: dict[int, Address] = {}
    found: dict[int, tuple[Copy, int | None]] = {}
    for one in going:
        strategy = ways[one.id]
        if strategy.rung.key == "id" or one.server_id is not None:
            # A server that heeds If-None-Match says by itself whether a first write is one.
            if strategy.create_guard and one.server is Server.UNSEEN and not one.attempts and one.action is Action.PUT:
                continue
            wanted[one.id] = Address(one.resource_type, one.server_id or one.resource_id)
        elif strategy.name == "search-then-create" or one.action is Action.RETRACT:
            several = _searched(bench, one, strategy, bodies[one.id])
            found[one.id] = (Copy(several[0]) if several else ABSENT, None if several is None else len(several))
    copies = read_copies(bench.site.client, wanted.values(), bench.ways.limit.entries)
    return found | {number: (copies[address], 1) for number, address in wanted.items()}


def _searched(bench: Bench, one: Delivery, strategy: Strategy, body: Tree | None) -> list[Tree] | None:
    """What the site has of a resource that has no address known to us; ``None`` if it does not say."""
    if body is not None:
        asked = asked_for(bench, strategy, target_of(body, bench.record_key), body)
        if asked is not None and asked.by == "search":
            return search(bench.site.client, one.resource_type, asked, body, bench.record_key)
    # A first write goes where nothing can be asked. What cannot be found cannot be taken back either.
    return None if one.action is Action.RETRACT and one.server is not Server.ABSENT else []


def asked_for(bench: Bench, strategy: Strategy, target: Target, body: Tree) -> Look | None:
    """How to ask for a resource: see :func:`fhirbridge.sync.doubt.look`."""
    return look(strategy, target, _with_patient(bench, body) if strategy.rung.key == "content" else body)


def _with_patient(bench: Bench, body: Tree) -> Tree:
    """The resource with its patient's address, for searches by patient and time."""
    patient = patient_of(body)
    chart = bench.site.patients.find(patient) if patient is not None else None
    pointer = patient_pointer(patient) if patient is not None else None
    if not isinstance(chart, Address) or pointer is None:
        return body
    return with_literals(body, lambda one: chart if one == pointer else None)


def search(client: Client, resource_type: str, asked: Look, ours: Tree, record_key: str) -> list[Tree] | None:
    """The resources that a look finds and that carry our identity; ``None`` where the server does not say."""
    parameters = {**asked.parameters, "_count": "20"}
    try:
        page = client.find(resource_type, parameters)
    except SiteRefused as refused:
        if refused.status not in NO_POST_SEARCH:
            raise
        return None
    if next_link(page) is not None:
        return None
    target = target_of(ours, record_key)
    return [one for one in resources(page) if carries(target, one)]


def _retract(bench: Bench, one: Delivery, strategy: Strategy, copy: Copy, prepared: Prepared) -> None:
    theirs = copy.resource
    if theirs is None:
        server = Server.GONE if copy.gone else Server.ABSENT
        prepared.settled.append(acked(one, "unchanged", server=server))
        return
    version, own = version_of(theirs), theirs.get("id")
    if is_retracted(theirs) and one.subject != BY_DELETE:
        prepared.settled.append(acked(one, "unchanged", version=version, server_id=own))
        return
    if one.subject == BY_DELETE:
        prepared.drafts.append(Draft(one, strategy, theirs, True, version, own, deletes=True))
        return
    how = retraction(theirs, bench.ways.release, bench.site.settings.retract_without_status, bench.bases)
    if how.means == "park" or (how.means != "delete" and not strategy.updates):
        prepared.settled.append(set_aside(one, State.PARKED, _BY_HAND.code, (_BY_HAND,), server=Server.PRESENT))
        return
    resource = how.resource if how.resource is not None else theirs
    prepared.drafts.append(Draft(one, strategy, resource, True, version, own, deletes=how.means == "delete"))


def _put(bench: Bench, one: Delivery, strategy: Strategy, body: Tree, copy: Copy, prepared: Prepared) -> None:
    ours = Ours(body, revision_key(revision_of(one.revision)), one.server, one.version, one.acked is not None)
    said = judge(ours, copy, None if prepared.chart is None else str(prepared.chart), bench.revision_systems)
    theirs = copy.resource
    if said.do == "adopt":
        own = None if theirs is None else theirs.get("id")
        prepared.settled.append(
            acked(one, "unchanged", reason=said.reason, version=said.version, server_id=own, server=said.server)
        )
    elif said.do == "park":
        fault = _FAULTS[said.reason]
        prepared.settled.append(set_aside(one, State.PARKED, fault.code, (fault,), server=said.server))
    elif theirs is not None and not strategy.updates:
        prepared.settled.append(set_aside(one, State.PARKED, _NO_UPDATES.code, (_NO_UPDATES,)))
    elif said.do == "merge":
        assert theirs is not None
        _merge(bench, one, strategy, body, theirs, said, prepared)
    else:
        own = theirs.get("id") if theirs is not None and strategy.rung.key != "id" else one.server_id
        prepared.drafts.append(Draft(one, strategy, body, theirs is not None, said.version, own))


def _merge(
    bench: Bench, one: Delivery, strategy: Strategy, body: Tree, theirs: Tree, said: Judgement, prepared: Prepared
) -> None:
    """Somebody wrote there since we did: both changes stand, or people decide.

    Unless it is our own past that came back: a merge would take that for a change of theirs.
    """
    known = bench.ledger.known(bench.site.name, {(one.kind, one.record)})
    row = next(row for row in known if row.resource == one.resource)
    came_back = is_before(row, theirs, bench.revision_systems)
    if came_back and is_ours_of_before(bench.site.name, bench.ledger, row, theirs, bench.revision_systems):
        prepared.drafts.append(Draft(one, strategy, body, True, said.version, one.server_id))
        return
    base = None if came_back else base_of(bench, one)
    if base is None:
        fault = _FAULTS["conflict.unknown"]
        prepared.settled.append(set_aside(one, State.PARKED, fault.code, (fault,), server=Server.CONFLICT))
        return
    merged = merge(without_literals(base), without_literals(theirs), body, bench.key)
    if merged.resource is None:
        faults = tuple(
            Fault(
                "conflict.changed",
                clash.path,
                f"changed at the site as well ({clash.base or 'absent'} there {clash.theirs or 'absent'}, "
                f"here {clash.ours or 'absent'})",
                "settle it with the site, then push a new revision",
            )
            for clash in merged.clashes
        )
        reason = Reason("conflict.changed", clashes=merged.clashes)
        prepared.settled.append(set_aside(one, State.PARKED, reason, faults, server=Server.CONFLICT))
        return
    prepared.drafts.append(Draft(one, strategy, merged.resource, True, said.version, one.server_id))


def base_of(bench: Bench, one: Delivery) -> Tree | None:
    """What stood at the site after our last write: its own history of it, else what we sent."""
    if one.version is not None:
        try:
            copy = read_copy(
                bench.site.client, Address(one.resource_type, one.server_id or one.resource_id), one.version
            )
        except SiteRefused:
            copy = ABSENT
        if copy.resource is not None and version_of(copy.resource) == one.version:
            return copy.resource
    kept = bench.ledger.bodies([one.acked]) if one.acked is not None else {}
    return parse_object(kept[one.acked]) if one.acked in kept else None


OPEN = Fault("doubt.open", "", "the site does not say whether it arrived", "ask the site, then replay or leave it")
GONE = Fault("site.gone", "", "the resource was deleted at the site", "ask the site why; it is not brought back")
MISSING = Fault(
    "site.missing", "", "the site no longer holds what it had acknowledged",
    "ask the site; fhirbridge verify --repair sends it again",
)  # fmt: skip
_STRANGER = Fault(
    "patient.other_chart", "", "it refers to a record of another patient",
    "correct patient or reference in a new revision; if the other record was wrong, correct that one, then replay",
)  # fmt: skip
_SEVERAL = Fault("write.several", "", "the site holds several resources of this identity", "have all but one removed")
_BY_HAND = Fault(
    "retract.no_status", "", "there is no way to mark this resource as wrong at the site", "ask the site to remove it"
)
_NO_UPDATES = Fault("write.no_update", "", "the site lets nobody change this type", "ask the site to change it")
_FAULTS = {
    fault.code: fault
    for fault in (
        GONE,
        MISSING,
        Fault(
            "conflict.patient", "subject", "the site's copy belongs to another patient", "ask the site who moved it"
        ),
        Fault(
            "conflict.unknown", "", "the site's copy is not what was sent, and nobody knows what stood there before",
            "compare the two; to send ours, push a new revision",
        ),
        Fault("conflict.retracted", "", "the site's copy was retracted", "push a new revision if it should stand"),
    )
}  # fmt: skip
