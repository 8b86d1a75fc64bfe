"""What is to be written for one delivery, once everything about it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fhirbridge.errors import Fault
from fhirbridge.fhir.bundle import Address, EntryOutcome
from fhirbridge.fhir.bundle import State as EntryState
from fhirbridge.fhir.json import Tree, parse_object
from fhirbridge.ledger import Action, Delivery, Ended, Result, Server, State
from fhirbridge.sync.bench import Bench, Report
from fhirbridge.sync.reason import Reason
from fhirbridge.sync.strategy import Strategy
from fhirbridge.sync.writing import Target, target_of


@dataclass(frozen=True, slots=True)
class Draft:
    """A resource that must be written: ``resource`` without literal references, over ``version`` of the site's copy.

    ``server_id`` is the site's own id where it is not ours; ``deletes`` a retraction by DELETE.
    """

    delivery: Delivery
    strategy: Strategy
    resource: Tree = field(repr=False)
    exists: bool
    version: str | None = None
    server_id: str | None = None
    deletes: bool = False

    @property
    def address(self) -> Address:
        """Which resource it is, for whoever composes bundles."""
        return Address(self.delivery.resource_type, self.delivery.resource_id)

    @property
    def reason(self) -> Reason:
        """Why it waited until now."""
        return Reason.read(self.delivery.reason)

    def target(self, record_key: str) -> Target:
        """How the strategy finds it."""
        return target_of(self.resource, record_key, self.server_id, self.version)


@dataclass(frozen=True, slots=True)
class Settlement:
    """A result for the ledger together with what is reported of it."""

    result: Result
    outcome: EntryOutcome
    faults: tuple[Fault, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether the delivery is still on its way."""
        return self.result.to in (State.QUEUED, State.UNKNOWN)


def settle(bench: Bench, settlements: Sequence[Settlement], ended: Sequence[Ended] = ()) -> None:
    """Write results into the ledger, then tell of them. Raises :class:`LedgerError`."""
    if not settlements:
        return
    bench.at("before-ack")
    bench.ledger.settle([one.result for one in settlements], ended=ended)
    bench.at("after-ack")
    for one in settlements:
        bench.tell(Report(one.result.delivery, one.result.to, one.result.reason, one.outcome, one.faults))


def body_of(delivery: Delivery) -> Tree | None:
    """The resource of a delivery; ``None`` where it has none."""
    return None if delivery.body is None else parse_object(delivery.body)


def acked(
    delivery: Delivery,
    state: EntryState,
    *,
    bundle: str | None = None,
    reason: str = "",
    version: str | None = None,
    server_id: str | None = None,
    server: Server | None = None,
    status: int | None = None,
) -> Settlement:
    """The site holds what was wanted. ``server_id`` is kept only where it is not the id we chose."""
    holds = server or (Server.RETRACTED if delivery.action is Action.RETRACT else Server.PRESENT)
    other = server_id if server_id != delivery.resource_id else None
    result = Result(delivery, State.ACKED, bundle, reason, None, version, other, holds)
    return Settlement(result, EntryOutcome(state, status, version))


def set_aside(
    delivery: Delivery,
    to: State,
    reason: Reason | str,
    faults: tuple[Fault, ...],
    *,
    bundle: str | None = None,
    server: Server | None = None,
    outcome: EntryOutcome | None = None,
) -> Settlement:
    """Parked or rejected: nothing more happens until somebody acts."""
    said = outcome or EntryOutcome("refused")
    return Settlement(Result(delivery, to, bundle, str(reason), server=server), said, faults)


def later(
    delivery: Delivery,
    to: State,
    reason: Reason,
    at: float | None,
    faults: tuple[Fault, ...],
    *,
    bundle: str | None = None,
    server_id: str | None = None,
    outcome: EntryOutcome | None = None,
) -> Settlement:
    """Queued again, or in doubt, not before ``at``."""
    state: EntryState = "unknown" if to is State.UNKNOWN else "failed"
    result = Result(delivery, to, bundle, str(reason), at, server_id=server_id)
    return Settlement(result, outcome or EntryOutcome(state), faults)
