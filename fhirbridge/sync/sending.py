"""Send one bundle, or one resource alone, and prove it entry by entry. What left is in the ledger before it leaves."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from fhirbridge.audit import Ending, How, Leaving
from fhirbridge.client.rest import path_of
from fhirbridge.client.transport import Answer
from fhirbridge.errors import ConsentChanged, Fault, FhirbridgeError, LedgerError, SiteError, SiteRefused
from fhirbridge.fhir.bundle import PASSING, Address, EntryOutcome
from fhirbridge.fhir.bundle import State as EntryState
from fhirbridge.fhir.json import Tree, dump
from fhirbridge.fhir.outcome import issues, signals
from fhirbridge.ledger import Ended, Outgoing, Server, State
from fhirbridge.sync.bench import Bench
from fhirbridge.sync.doubt import carries, look
from fhirbridge.sync.draft import Draft, Settlement, acked, later, set_aside, settle
from fhirbridge.sync.held import read_copy, says_the_same, version_of
from fhirbridge.sync.plan import newest_revision, revision_key, revision_of
from fhirbridge.sync.provenance import Written, provenance
from fhirbridge.sync.reason import Reason
from fhirbridge.sync.references import Resolve, with_literals, without_literals
from fhirbridge.sync.retry import Decision, Do, Happened, Sent
from fhirbridge.sync.watch import Stopwatch
from fhirbridge.sync.writing import Proven, Target, Write, proved, proved_alone, write

ResolveFor: TypeAlias = Callable[[Draft], Resolve]
_NO_CHANGE = "SUCCESSFUL_UPDATE_NO_CHANGE"


class Sending:
    """One attempt. ``resolve`` gives each draft's way to literal references."""

    def __init__(self, bench: Bench, drafts: Sequence[Draft], resolve: ResolveFor) -> None:
        self._bench = bench
        self._drafts = list(drafts)
        self._resolve = resolve
        self._announced: Ending | None = None
        self.id = uuid.uuid4().hex

    def run(self, *, alone: bool) -> list[Settlement]:
        """Begin, send, prove; one settlement for each draft, already in the ledger and reported.

        Raises :class:`LedgerError`, among them :class:`ConsentChanged`, after which nothing was begun; whatever else
        breaks is settled as what it is.
        """
        bench = self._bench
        (first,) = self._drafts[:1]
        if first.deletes:
            settlements, outcome = self._delete(first)
        else:
            writes = [self._write(draft) for draft in self._drafts]
            settlements, outcome = self._alone(writes[0]) if alone else self._bundle(writes)
        if self._announced is not None:
            aside = [(n, str(one.result.to)) for n, one in enumerate(settlements) if one.result.to is not State.ACKED]
            self._announced.settled(outcome, aside)
        settle(bench, settlements, [Ended(self.id, outcome)])
        return settlements

    def _write(self, draft: Draft) -> Write:
        resource = with_literals(draft.resource, self._resolve(draft))
        target = replace(draft.target(self._bench.record_key), server_id=draft.server_id, version=draft.version)
        return write(draft.strategy, target, resource, self._bench.site.client.base)

    def _provenance(self, writes: Sequence[Write]) -> list[Write]:
        """The bundle's Provenance. What has to be tried by itself goes without: a site may have refused just that."""
        bench, strategy = self._bench, self._bench.ways.provenance
        if strategy is None or any(one.reason.split == 1 for one in self._drafts):
            return []
        written = [
            Written(
                str(one.expected) if one.expected is not None else one.full_url,
                draft.delivery.kind,
                draft.delivery.record,
                draft.delivery.revision,
                draft.delivery.content,
                draft.exists,
            )
            for draft, one in zip(self._drafts, writes, strict=True)
        ]
        binding = bench.site.mappings.binding
        tree = provenance(binding, self.id, written, bench.clock(), self._drafts[0].delivery.run)
        return [write(strategy, Target("Provenance", tree["id"]), tree, bench.site.client.base)]

    def _begin(self, body: bytes, how: How, beside: Sequence[Write] = ()) -> tuple[float, str]:
        """Until when (``time.monotonic``) the request may leave, and its ``X-Request-Id``.

        It is in the audit trail before the ledger holds it for sent: where the one cannot be written, the other stays.
        """
        bench = self._bench
        # To wait for a turn takes time, in which a consent may be withdrawn: that comes first.
        bench.site.client.turn()
        digest = hashlib.sha256(body).hexdigest()
        announced = bench.site.audit.sends(
            Leaving(
                self.id,
                how,
                not any(draft.exists for draft in self._drafts),
                self._drafts[0].delivery.lease.key,
                [
                    *((one.delivery.resource_type, one.server_id or one.delivery.resource_id) for one in self._drafts),
                    *((one.resource["resourceType"], one.resource["id"]) for one in beside),
                ],
            )
        )
        stopwatch = Stopwatch.started(bench.clock, bench.site.settings.timeout)
        try:
            moment = bench.ledger.begin([Outgoing(self.id, [one.delivery for one in self._drafts], digest)])
        except LedgerError as error:
            announced.ended(None, error.code)
            raise
        self._announced = announced
        bench.at("after-begin")
        return stopwatch.until(moment), announced.id

    def _bundle(self, writes: list[Write]) -> tuple[list[Settlement], str]:
        client = self._bench.site.client
        beside = self._provenance(writes)
        writes = [*writes, *beside]
        bundle: Tree = {
            "resourceType": "Bundle",
            "type": self._bench.ways.form,
            "entry": [one.entry() for one in writes],
        }
        body = dump(bundle)
        how: How = "transaction" if self._bench.ways.form == "transaction" else "batch"
        not_after, announced = self._begin(body, how, beside)
        sent = self._sent(writes, bundle=True)
        try:
            answer = client.send("POST", client.base, body, not_after=not_after, announced=announced)
        except SiteError as error:
            return self._broken(error, sent)
        if not 200 <= answer.status < 300:
            return self._refused(answer, sent)
        # The last may be the Provenance, whose fate is that of the transaction.
        found = proved(writes, answer.tree)[: len(self._drafts)]
        for one in found:
            client.hear(one.issues)
        self._bench.went_well()
        pairs = zip(self._drafts, found, strict=True)
        return [self._proven(draft, one, sent, answer) for draft, one in pairs], str(answer.status)

    def _alone(self, one: Write) -> tuple[list[Settlement], str]:
        client = self._bench.site.client
        body = dump(one.resource)
        not_after, announced = self._begin(body, "update" if self._drafts[0].exists else "create")
        sent = self._sent([one], bundle=False)
        try:
            answer = client.send(one.method, one.url, body, one.headers(), not_after=not_after, announced=announced)
        except SiteError as error:
            return self._broken(error, sent)
        found = proved_alone(one, answer)
        if found.state == "refused":
            return self._refused(answer, sent)
        self._bench.went_well()
        return [self._proven(self._drafts[0], found, sent, answer)], str(answer.status)

    def _delete(self, draft: Draft) -> tuple[list[Settlement], str]:
        client = self._bench.site.client
        address = Address(draft.delivery.resource_type, draft.server_id or draft.delivery.resource_id)
        not_after, announced = self._begin(f"DELETE {path_of(address)}".encode(), "delete")
        sent = Sent(guarded=True, versioned=True, attempt=1 + draft.delivery.attempts)
        try:
            version = draft.version if draft.strategy.if_match else None
            client.delete(address, version, not_after=not_after, announced=announced)
        except SiteError as error:
            return self._broken(error, sent)
        return [acked(draft.delivery, "updated", bundle=self.id, server=Server.GONE)], "deleted"

    def _sent(self, writes: Sequence[Write], *, bundle: bool) -> Sent:
        deliveries = [one.delivery for one in self._drafts]
        attempt = 1 + max(one.attempts for one in deliveries)
        return Sent.of(writes, bundle=bundle, attempt=attempt, others_pass=self._bench.others_passed(deliveries))

    # What came of the request as a whole.

    def _broken(self, error: SiteError, sent: Sent) -> tuple[list[Settlement], str]:
        faults = faults_of(error)
        decision = self._bench.decide(Happened.of(error), sent, faults[0])
        status = error.status if isinstance(error, SiteRefused) else None
        return self._all(decision, status, faults), error.code if status is None else str(status)

    def _refused(self, answer: Answer, sent: Sent) -> tuple[list[Settlement], str]:
        said = issues(answer.tree)
        faults = tuple(issue.as_fault() for issue in said) or (refusal(answer.status),)
        happened = Happened(None, answer.status, signals(said), answer.headers.get("retry-after"))
        decision = self._bench.decide(happened, sent, faults[0])
        if decision.do is Do.CONFIRM:
            return [self._confirmed(self._drafts[0], answer, faults)], str(answer.status)
        return self._all(decision, answer.status, faults), str(answer.status)

    def _all(self, decision: Decision, status: int | None, faults: tuple[Fault, ...]) -> list[Settlement]:
        if decision.do is Do.HALVE:
            self._bench.ways.too_large(len(self._drafts))
        return [self._follow(draft, decision, status, faults, len(self._drafts)) for draft in self._drafts]

    def _follow(
        self, draft: Draft, decision: Decision, status: int | None, faults: tuple[Fault, ...], among: int
    ) -> Settlement:
        """What a decision of the retry table means for one delivery."""
        delivery, own = draft.delivery, draft.reason.because(decision.reason)
        smaller = replace(own, split=max(1, min(own.split, among // 2)))
        failed = EntryOutcome("failed", status)
        match decision.do:
            case Do.LOOK:
                asked = look(draft.strategy, draft.target(self._bench.record_key), draft.resource)
                at = max(decision.at, self._bench.clock() + (asked.wait if asked is not None else 0.0))
                reason = replace(smaller, then="bisect") if decision.then is Do.BISECT else own
                reason = replace(reason, then="park") if decision.then is Do.PARK else reason
                outcome = EntryOutcome("unknown", status)
                return later(delivery, State.UNKNOWN, reason, at, faults, bundle=self.id, outcome=outcome)
            case Do.HALVE | Do.BISECT:
                return later(delivery, State.QUEUED, smaller, None, faults, bundle=self.id, outcome=failed)
            case Do.AGAIN | Do.MERGE | Do.REFRESH | Do.STOP:
                return later(delivery, State.QUEUED, own, decision.at, faults, bundle=self.id, outcome=failed)
            case Do.REJECT:
                outcome = EntryOutcome("refused", status)
                return set_aside(delivery, State.REJECTED, decision.reason, faults, bundle=self.id, outcome=outcome)
            case _:
                outcome = EntryOutcome("refused" if _is_verdict(status) else "failed", status)
                return set_aside(delivery, State.PARKED, decision.reason, faults, bundle=self.id, outcome=outcome)

    # What came of one entry.

    def _proven(self, draft: Draft, found: Proven, sent: Sent, answer: Answer) -> Settlement:
        delivery, own = draft.delivery, None if found.address is None else found.address.id
        if found.state in ("created", "updated"):
            unchanged = any(_NO_CHANGE in issue.vendor for issue in found.issues)
            state: EntryState = "unchanged" if unchanged else "created" if found.state == "created" else "updated"
            return acked(delivery, state, bundle=self.id, version=found.version, server_id=own, status=found.status)
        if found.address is not None and found.state in ("existed", "look"):
            settled = self._named(draft, found.address, found)
            if settled is not None:
                return settled
        faults = tuple(issue.as_fault() for issue in found.issues) or (refusal(found.status),)
        refused = found.state == "refused"
        happened = Happened.of_entry(
            found.status if refused else None, signals(found.issues), answer.headers.get("retry-after")
        )
        decision = self._bench.decide(happened, replace(sent, attempt=1 + delivery.attempts), faults[0])
        return self._follow(draft, decision, found.status, faults, 1)

    def _named(self, draft: Draft, address: Address, found: Proven) -> Settlement | None:
        """The answer proves nothing but names a place: what stands there is read, never searched for.

        After a condition that found something it is ours if it carries our identity; after a 201 the server has made it
        for this very request, though it may keep neither tags nor versions.
        """
        delivery = draft.delivery
        try:
            copy = read_copy(self._bench.site.client, address)
        except (SiteError, ConsentChanged):
            # What was sent is in doubt, and must be settled, whatever was withdrawn since.
            reason = draft.reason.because("unproven")
            at = self._bench.clock()
            return later(delivery, State.UNKNOWN, reason, at, (), bundle=self.id, server_id=_other(draft, address))
        made = found.status == 201
        if copy.resource is None or not (made or carries(draft.target(self._bench.record_key), copy.resource)):
            return None
        version = version_of(copy.resource)
        # A success for an update of that very resource, which has another version since: it is done, whatever was kept.
        changed = draft.exists and found.state == "look" and version not in (None, draft.version)
        if made or changed or says_the_same(draft.resource, without_literals(copy.resource)):
            state: EntryState = "created" if made else "updated" if changed else "unchanged"
            return acked(delivery, state, bundle=self.id, version=version, server_id=address.id, status=found.status)
        reason = draft.reason.because("existed")
        return later(delivery, State.QUEUED, reason, None, (), bundle=self.id, server_id=_other(draft, address))

    def _confirmed(self, draft: Draft, answer: Answer, faults: tuple[Fault, ...]) -> Settlement:
        """A repeated key: success, if the answer is our resource; one of an earlier revision is updated next."""
        tree, target = answer.tree, draft.target(self._bench.record_key)
        if isinstance(tree, dict) and isinstance(tree.get("id"), str) and carries(target, tree):
            delivery, version, own = draft.delivery, version_of(tree), tree["id"]
            newest = newest_revision(tree, self._bench.revision_systems)
            ours = newest == revision_key(revision_of(delivery.revision))
            if ours or says_the_same(draft.resource, without_literals(tree)):
                return acked(delivery, "created", bundle=self.id, version=version, server_id=own, status=answer.status)
            place = _other(draft, Address(target.type, own))
            return later(
                delivery, State.QUEUED, draft.reason.because("existed"), None, (), bundle=self.id, server_id=place
            )
        reason = Reason("repeated")
        return set_aside(draft.delivery, State.PARKED, reason, faults, bundle=self.id)


def _other(draft: Draft, address: Address) -> str | None:
    """The site's own id, where it is not ours."""
    return address.id if address.id != draft.delivery.resource_id else None


def _is_verdict(status: int | None) -> bool:
    return status is not None and 400 <= status < 500 and status not in PASSING


def as_fault(error: FhirbridgeError) -> Fault:
    """An error as one fault, without its issues."""
    return Fault(error.code, "", error.message, error.hint)


def faults_of(error: SiteError) -> tuple[Fault, ...]:
    """An error as faults: the server's issues where it gave any."""
    said = error.issues if isinstance(error, SiteRefused) else ()
    return said or (as_fault(error),)


def refusal(status: int | None) -> Fault:
    """A refusal without any reason given."""
    said = "nothing that can be believed" if status is None else f"status {status}"
    return Fault("site.refused", "", f"the site answered {said}", "ask the site")
