"""``fhirbridge probe``: what a server claims, what it does, and how it will be written to."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fhirbridge.cli.app import FAILED, configuration, warned
from fhirbridge.cli.console import counting, print_json, say, table
from fhirbridge.client.probe import Means, probe, probe_by_trial
from fhirbridge.client.proof import ABILITIES, Ability, Proof
from fhirbridge.client.trials import IDEMPOTENCY_HEADER
from fhirbridge.fhir.order import DELIVERY_ORDER
from fhirbridge.mapping import Release
from fhirbridge.site import Site
from fhirbridge.sync.opening import open_ledger
from fhirbridge.sync.strategy import Refusal, Strategy, choose, entries, form
from fhirbridge.sync.ways import keep_proof


def probe_site(
    context: typer.Context,
    site: Annotated[str, typer.Argument(help="Site of the configuration.")],
    write: Annotated[bool, typer.Option("--write", help="Prove by trial; what is written is removed again.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print all of it for scripts.")] = False,
) -> None:
    """Show what a server claims and, with --write, what it really does; choose how to write to it.

    A trial writes about a dozen small resources of no patient (Basic, or Observation where there is none), tagged with
    the run, and removes them again, also after Ctrl-C. What cannot be removed is listed. What was proven is kept with
    the site.

    \b
    fhirbridge probe hospital
    fhirbridge probe hospital --write --json
    """
    config = warned(configuration(context))
    with Site.open(site, config) as hospital:
        proof = probed(hospital, write=write)
        if write:
            # What was merely claimed must not take the place of what was proven.
            with open_ledger(config) as ledger:
                keep_proof(ledger, site, proof)
        ways = chosen(hospital, proof)
        form_, most = form(hospital.settings, proof, hospital.capabilities), entries(hospital.settings, proof)
    if json:
        strategies = {resource_type: _way_as_json(way) for resource_type, way in ways.items()}
        print_json(
            {"site": site, "proof": proof.as_json(), "strategies": strategies, "form": form_, "bundle_entries": most},
            to_stdout=True,
        )
    else:
        _show(proof, ways, f"{form_}, {most} entries at most")
    if proof.left or any(isinstance(way, Refusal) for way in ways.values()):
        raise typer.Exit(FAILED)


def probed(site: Site, *, write: bool) -> Proof:
    """The proof of a site. Raises :class:`SiteError`; what a trial leaves behind is said at once."""
    types = types_of(site)
    if not write:
        return probe(site.client, types, Means(time.time, time.sleep))
    run = f"{datetime.now(UTC):%Y%m%d}-{uuid.uuid4().hex[:8]}"
    with counting("trials") as tick:
        count = iter(range(1, 1_000_000))
        means = Means(time.time, time.sleep, lambda _: tick(next(count)), _abandoned)
        return probe_by_trial(
            site.client,
            site.mappings.binding,
            types,
            means,
            run=run,
            most_entries=site.settings.bundle_entries,
            idempotency_header=site.settings.can.idempotency_key or IDEMPOTENCY_HEADER,
        )


def types_of(site: Site) -> list[str]:
    """The resource types that are written: those of the record kinds and of their projections."""
    own = (kind.resource_type for kind in site.mappings.kinds.values())
    return list(dict.fromkeys([*(one for one in DELIVERY_ORDER if one != "Patient"), *own]))


def chosen(site: Site, proof: Proof) -> dict[str, Strategy | Refusal]:
    """How each type would be written."""
    release = Release(site.settings.release)
    return {one: choose(one, release, site.settings, proof, site.capabilities) for one in types_of(site)}


def _abandoned(what: str) -> None:
    say(f"left behind, please remove: {what}")


def _show(proof: Proof, ways: dict[str, Strategy | Refusal], bundles: str) -> None:
    say(f"{proof.software or 'a server without a name'}, FHIR {proof.fhir_version or 'of no stated version'}")
    table(["ability", "claimed", "proven", "seen"], (_row(name, proof.ability(name)) for name in ABILITIES))
    table(["resource type", "written by", "reason"], (_way_row(name, way) for name, way in ways.items()))
    say(f"bundles: {bundles}{_lag(proof)}")
    if proof.smart is not None:
        say(f"tokens without a person (private_key_jwt): {_word(proof.smart.private_key_jwt)}")
    for notice in proof.notices:
        say(f"notice: {notice}")
    if proof.run is None:
        say("nothing was tried; --write proves it with resources that it removes again")


def _lag(proof: Proof) -> str:
    return "" if proof.index_lag is None else f"; searches lag behind by {proof.index_lag:.1f} s"


def _row(name: str, ability: Ability) -> list[str]:
    return [name, _word(ability.claimed), _word(ability.proven), ability.detail]


def _way_row(name: str, way: Strategy | Refusal) -> list[str]:
    return [name, "refused", way.reason] if isinstance(way, Refusal) else [name, way.name, ""]


def _way_as_json(way: Strategy | Refusal) -> dict[str, Any]:
    if isinstance(way, Refusal):
        return {"refused": way.reason, "message": way.message, "hint": way.hint}
    return {"write": way.name, "create_guard": way.create_guard, "if_match": way.if_match, "updates": way.updates}


def _word(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "-"}[value]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("probe")(probe_site)
