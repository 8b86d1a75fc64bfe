"""One claimed lane worked off: doubts first, then everything that must go, bundle by bundle, in order."""

from __future__ import annotations

from collections.abc import Sequence

from fhirbridge.errors import SiteError
from fhirbridge.fhir.bundle import Address, EntryOutcome
from fhirbridge.ledger import Action, Claim, Delivery, State
from fhirbridge.sync.batch import Limit, Piece, compose
from fhirbridge.sync.bench import Bench
from fhirbridge.sync.certainty import clear_up
from fhirbridge.sync.draft import Draft, Settlement, later, set_aside, settle
from fhirbridge.sync.enqueue import URGENT
from fhirbridge.sync.prepare import prepare
from fhirbridge.sync.reason import Reason
from fhirbridge.sync.references import Pointer, Resolve, pointers, rank
from fhirbridge.sync.resolve import named_by, own_addresses, patient_of, patient_pointer
from fhirbridge.sync.retry import Do, Happened, Sent
from fhirbridge.sync.sending import Sending, faults_of
from fhirbridge.sync.watch import watched
from fhirbridge.sync.writing import write

# What an entry adds to a resource: its address, its request, the literal references.
_ENTRY_OVERHEAD = 600


class LaneWork:
    """The work on one claim. All that it was handed is settled in the end, unless the run stops."""

    def __init__(self, bench: Bench, claim: Claim) -> None:
        self._bench = bench
        self._lease = claim.lease
        self._open: dict[int, Delivery] = {one.id: one for one in claim.deliveries}
        self._chart: Address | None = None
        self._here: dict[Pointer, Address] = {}
        self._elsewhere: dict[Pointer, Address] = {}

    def run(self) -> None:
        """Do what can be done now. Raises :class:`LedgerError`, among them :class:`ConsentChanged`."""
        bench = self._bench
        deliveries = list(self._open.values())
        doubts = [one for one in deliveries if one.state is State.UNKNOWN]
        with watched(bench.site.client, bench.ledger, self._lease, bench.clock, bench.site.settings.timeout):
            try:
                if doubts:
                    self._settle(clear_up(bench, doubts))
                going = [one for one in deliveries if one.state is not State.UNKNOWN]
                if going and not bench.ended:
                    self._deliver(going)
            except SiteError as error:
                self._put_off(error)

    def _deliver(self, going: Sequence[Delivery]) -> None:
        prepared = prepare(self._bench, going)
        self._chart = prepared.chart
        self._settle(prepared.settled)
        drafts = prepared.drafts
        own = own_addresses((one.resource, one.address) for one in drafts if not one.deletes)
        # What is taken back names what the site knows already: it is asked about nothing more.
        writing = [one for one in drafts if one.delivery.action is Action.PUT]
        named = {pointer for one in writing for pointer in pointers(one.resource)}
        self._elsewhere = self._bench.elsewhere.find(named - own.keys() - self._here.keys())
        for bundle in self._bundles([one for one in drafts if not one.deletes], own):
            if self._bench.ended or not self._sent(bundle):
                return
        for one in drafts:
            if one.deletes and (self._bench.ended or not self._sent([one])):
                return

    def _bundles(self, drafts: list[Draft], own: dict[Pointer, Address]) -> list[list[Draft]]:
        form, limit = self._bench.ways.form, self._bench.ways.limit
        single = form == "single" or any(one.strategy.rung.alone for one in drafts)
        pieces = [
            Piece(
                one.address,
                (one.delivery.kind, one.delivery.record, one.delivery.revision),
                len(one.delivery.body or b"") + _ENTRY_OVERHEAD,
                named_by(one.resource, own) - {one.address},
                together=one.delivery.resource_type in URGENT,
                most=one.reason.split,
            )
            for one in drafts
        ]
        if self._bench.ways.provenance is not None:
            limit = Limit(max(1, limit.entries - 1), limit.size)
        if single:
            composed = compose(pieces, Limit(1, limit.size), "batch")
        else:
            composed = compose(pieces, limit, "transaction" if form == "transaction" else "batch")
        return [[drafts[place] for place in places] for places in composed]

    def _sent(self, bundle: list[Draft]) -> bool:
        """Send a bundle; whether the lane may go on. One that waits keeps all that comes after it waiting."""
        form = self._bench.ways.form
        alone = form == "single" or any(one.strategy.rung.alone for one in bundle)
        now = self._bench.clock()
        if self._bench.pace.until > now:
            self._wait(self._bench.pace.until)
            return False
        if not self._still_there(bundle[0]):
            # What is left is looked at anew, and set aside there if it must be.
            self._wait(None)
            return False
        members = (
            own_addresses((one.resource, one.address) for one in bundle) if form == "transaction" and not alone else {}
        )
        urns = _urns(bundle, self._bench) if members else {}
        settlements = Sending(self._bench, bundle, lambda draft: self._resolver(draft, members, urns)).run(alone=alone)
        for draft, one in zip(bundle, settlements, strict=True):
            self._open.pop(one.result.delivery.id, None)
            if one.result.to is State.ACKED:
                place = Address(draft.address.type, one.result.server_id or draft.server_id or draft.address.id)
                self._here |= own_addresses([(draft.resource, place)])
        due = [one.result.next_at for one in settlements if one.waits]
        if due:
            self._wait(max((at for at in due if at is not None), default=None))
        return not due

    def _resolver(self, draft: Draft, members: dict[Pointer, Address], urns: dict[Address, str]) -> Resolve:
        patient = patient_of(draft.resource)
        mine = patient_pointer(patient) if patient is not None else None
        here = rank(draft.delivery.resource_type)

        def resolve(pointer: Pointer) -> Address | str | None:
            if pointer[0] == "Patient":
                return self._chart if pointer == mine else None
            if rank(pointer[0]) > here:
                return None
            found = self._here.get(pointer) or self._elsewhere.get(pointer)
            if found is None and members.get(pointer) not in (None, draft.address):
                member = members[pointer]
                return urns.get(member, str(member))
            return found

        return resolve

    def _still_there(self, draft: Draft) -> bool:
        """Whether the chart is the one that the lane was prepared for: in a long lane it is looked for each minute."""
        patient = patient_of(draft.resource)
        if self._chart is None or patient is None or patient.identifier is None:
            return True
        return self._bench.site.patients.find(patient, self._bench.clock()) == self._chart

    def _wait(self, at: float | None) -> None:
        """Put what is left of the lane off until ``at``, in its order."""
        self._settle([later(one, _back(one), Reason.read(one.reason), at, ()) for one in self._open.values()])

    def _put_off(self, error: SiteError) -> None:
        """A read failed: nothing was sent, so everything that is open waits, or is left to people."""
        faults = faults_of(error)
        sent = Sent(writes=False, attempt=1 + self._bench.pace.failures)
        decision = self._bench.decide(Happened.of(error), sent, faults[0])
        give_up = decision.do in (Do.REJECT, Do.PARK)
        settled = []
        for one in self._open.values():
            reason = Reason.read(one.reason)
            if give_up and one.state is not State.UNKNOWN:
                settled.append(set_aside(one, State.PARKED, reason.because(decision.reason), faults, outcome=_FAILED))
            else:
                waiting = reason if one.state is State.UNKNOWN else reason.because(decision.reason)
                settled.append(later(one, _back(one), waiting, decision.at, faults))
        self._settle(settled)

    def _settle(self, settlements: list[Settlement]) -> None:
        settle(self._bench, settlements)
        for one in settlements:
            self._open.pop(one.result.delivery.id, None)


def _back(one: Delivery) -> State:
    """Where a delivery goes that could not be dealt with: a doubt stays one."""
    return State.UNKNOWN if one.state is State.UNKNOWN else State.QUEUED


def _urns(bundle: Sequence[Draft], bench: Bench) -> dict[Address, str]:
    """What entries are called inside their transaction where the server gives the ids."""
    found = {}
    for one in bundle:
        if one.server_id is not None:
            found[one.address] = f"{one.address.type}/{one.server_id}"
        elif one.strategy.rung.key != "id":
            place = write(one.strategy, one.target(bench.record_key), one.resource, bench.site.client.base)
            found[one.address] = place.full_url
    return found


_FAILED = EntryOutcome("failed")
