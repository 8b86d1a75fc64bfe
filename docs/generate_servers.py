"""Write the table of ``docs/servers.md``: what real servers claim, what they do, and how they would be written to.

python docs/generate_servers.py                                      # SEKMET, HAPI FHIR R4 and R5 (Java 17, Maven)
python docs/generate_servers.py "ours=https://hospital.example/fhir" # prints that of others; name=address[@r5]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from fhirbridge.cli.probe import chosen, probed
from fhirbridge.client.proof import ABILITIES, Ability
from fhirbridge.config import Config, parse
from fhirbridge.demo.server import sekmet_server
from fhirbridge.site import Site
from fhirbridge.sync.strategy import Refusal, entries, form

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path(__file__).with_name("servers.md")
BEGIN, END = "<!-- written by docs/generate_servers.py -->\n", "<!-- end -->\n"
Column: TypeAlias = Mapping[str, str]
_WORDS = {True: "yes", False: "no", None: "–"}


def column(base: str, release: str) -> Column:
    """One server's column: the name of each row, and what stands in it. Writes to the server and removes it again."""
    tree = {"clinic": {"demo": True}, "site": {"one": {"base_url": base, "release": release}}}
    with Site.open("one", Config(parse(tree), ROOT, {})) as site:
        proof = probed(site, write=True)
        said = {f"`{name}`": _cell(proof.ability(name)) for name in ABILITIES}
        ways = {
            f"written: {name}": way.reason if isinstance(way, Refusal) else f"`{way.name}`"
            for name, way in chosen(site, proof).items()
        }
        bundles = f"{form(site.settings, proof, site.capabilities)}, {entries(site.settings, proof)}"
    lag = "not known" if proof.index_lag is None else "found at once" if proof.index_lag == 0 else "found later"
    left = "nothing" if not proof.left else f"{len(proof.left)} resources"
    return {
        "software": proof.software or "",
        "FHIR": proof.fhir_version or "",
        "tried with": proof.trial_type or "",
        **said,
        "what was stored is": lag,
        "left behind": left,
        "bundles of": bundles,
        **ways,
    }


def table(columns: Mapping[str, Column]) -> str:
    """The table, a column for each server."""
    rows = list(dict.fromkeys(row for one in columns.values() for row in one))
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[row, *(one.get(row, "") for one in columns.values())] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def column_of(page: str, server: str) -> Column:
    """A server's column as it stands in the page."""
    lines = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    at = rows[0].index(server)
    return {row[0]: row[at] for row in rows[2:]}


def _cell(ability: Ability) -> str:
    detail = f" ({ability.detail})" if ability.detail else ""
    return f"{_WORDS[ability.claimed]} / {_WORDS[ability.proven]}{detail}"


def _real_servers() -> dict[str, Column]:
    sys.path.insert(0, str(ROOT))
    from tests.contract.hapi import hapi_server

    columns = {}
    with sekmet_server() as server:
        columns["SEKMET"] = column(server.base, "r4")
    for release in ("r4", "r5"):
        with hapi_server(release) as base:
            columns[f"HAPI {release.upper()}"] = column(base, release)
    return columns


def _named(arguments: list[str]) -> dict[str, Column]:
    columns = {}
    for argument in arguments:
        name, _, address = argument.partition("=")
        base, _, release = address.partition("@")
        columns[name] = column(base, release or "r4")
    return columns


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.stdout.write(table(_named(sys.argv[1:])))
    else:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(before + BEGIN + "\n" + table(_real_servers()) + "\n" + END + after, "utf-8")
