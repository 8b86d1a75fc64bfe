"""Probe a server: what it claims and, when told to write, what it really does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from fhirbridge.binding import Binding
from fhirbridge.client.laboratory import Laboratory
from fhirbridge.client.proof import ABILITIES, Ability, Proof, claims
from fhirbridge.client.rest import Client
from fhirbridge.client.specimen import TRIAL_TYPES, Specimens
from fhirbridge.client.trials import IDEMPOTENCY_HEADER, Trials
from fhirbridge.errors import SiteRefused, SiteUntrusted
from fhirbridge.fhir.capability import Capabilities, SmartConfiguration


@dataclass(frozen=True, slots=True)
class Means:
    """What a probe needs beside the server. ``clock`` gives epoch seconds, ``sleep`` takes seconds; ``progress`` hears
    the name of each trial, ``abandoned`` each thing that could not be removed, also after Ctrl-C."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    progress: Callable[[str], None] = lambda _: None
    abandoned: Callable[[str], None] = lambda _: None


def probe(client: Client, types: Iterable[str], means: Means) -> Proof:
    """What a server claims, for the resource types that matter; nothing is written.

    Raises :class:`SiteUnreachable`, and :class:`SiteUntrusted` where no FHIR server is at the address or what it says
    of itself is larger than the site's ``max_body``.
    """
    return _claimed(client, types, means)[0]


def probe_by_trial(
    client: Client,
    binding: Binding,
    types: Iterable[str],
    means: Means,
    *,
    run: str,
    most_entries: int,
    idempotency_header: str = IDEMPOTENCY_HEADER,
) -> Proof:
    """What a server claims and what it does. Everything that is written carries the tag ``run`` and is removed again.

    ``most_entries`` is the size of bundle that would be sent, and the largest that is tried. Raises as :func:`probe`.
    """
    proof, declared = _claimed(client, types, means)
    known = [one for one in TRIAL_TYPES if one in declared.types]
    notices = list(proof.notices)
    for kind in known or TRIAL_TYPES:
        laboratory = Laboratory(client, Specimens(binding, f"{run}-{kind.lower()}", kind), means.clock, means.sleep)
        trials = Trials(laboratory, most_entries, idempotency_header)
        try:
            trials.begin()
            if trials.can_write:
                trials.go_on(means.progress)
        finally:
            _remove(laboratory, means, undisturbed=sys.exception() is None)
        notices += trials.notices
        nothing: tuple[bool | None, str] = (None, "")
        proof = replace(
            proof,
            trial_type=kind,
            run=run,
            abilities={name: _tried(proof.ability(name), trials.proven.get(name, nothing)) for name in ABILITIES},
            entries=trials.entries,
            index_lag=trials.index_lag,
            left=(*proof.left, *laboratory.left),
            notices=tuple(notices),
        )
        if trials.can_write:
            break
    return proof


def _remove(laboratory: Laboratory, means: Means, *, undisturbed: bool) -> None:
    """Remove what was made; the first Ctrl-C of all waits for the end of that, a second one does not."""
    means.progress("removing")
    try:
        laboratory.clear()
    except KeyboardInterrupt:
        if undisturbed:
            laboratory.clear()
        raise
    finally:
        for one in laboratory.left:
            means.abandoned(one)


def _claimed(client: Client, types: Iterable[str], means: Means) -> tuple[Proof, Capabilities]:
    notices: list[str] = []
    declared = _declared(client, notices)
    claimed = claims(declared, types)
    proof = Proof(
        base=client.base,
        at=means.clock(),
        fhir_version=declared.fhir_version,
        software=declared.software,
        abilities={name: Ability(claimed[name]) for name in ABILITIES},
        smart=_smart(client, notices),
        notices=tuple(notices),
    )
    return proof, declared


def _declared(client: Client, notices: list[str]) -> Capabilities:
    try:
        return client.capabilities()
    except SiteRefused as error:
        notices.append(f"metadata: status {error.status}")
        return Capabilities()


def _smart(client: Client, notices: list[str]) -> SmartConfiguration | None:
    try:
        return client.smart_configuration()
    except SiteUntrusted as error:
        # Without SMART many a server answers with a page or a redirect.
        notices.append(f"smart-configuration: {error.code}")
        return None


def _tried(claimed: Ability, found: tuple[bool | None, str]) -> Ability:
    return Ability(claimed.claimed, *found)
