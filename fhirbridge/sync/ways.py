"""How one site is written to: the strategy of each type, the form and the limits of bundles, as far as known."""

from __future__ import annotations

from collections.abc import Iterable

from fhirbridge.binding import Release
from fhirbridge.client.proof import Proof
from fhirbridge.errors import ConfigError, JsonError
from fhirbridge.fhir.json import dump, parse
from fhirbridge.ledger import Ledger
from fhirbridge.site import Site
from fhirbridge.sync.batch import Limit
from fhirbridge.sync.strategy import Form, Refusal, Strategy, choose, entries, form

# The names under which the ledger keeps what was learnt.
ENTRIES = "entries"
SIZE = "bytes"
SINGLE = "single"
# Under what servers and the gateways before them take as one request.
LARGEST_BUNDLE = 4 * 2**20


class Ways:
    """What a worker has to know of a site before it writes; read once, limits grow smaller as they are learnt."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site = site
        self._ledger = ledger
        self.release = Release(site.settings.release)
        proof = kept_proof(ledger, site.name)
        # What was proven of another address proves nothing here.
        self.proof = proof if proof is not None and proof.base == site.client.base else None
        self._limits = ledger.limits(site.name)
        said: Form = form(site.settings, self.proof, site.capabilities)
        self.form: Form = "single" if SINGLE in self._limits else said
        self._strategies: dict[str, Strategy | Refusal] = {}

    def of(self, resource_type: str) -> Strategy | Refusal:
        """The strategy of a type, or why there is none."""
        found = self._strategies.get(resource_type)
        if found is None:
            found = choose(resource_type, self.release, self._site.settings, self.proof, self._site.capabilities)
            self._strategies[resource_type] = found
        return found

    @property
    def provenance(self) -> Strategy | None:
        """How a Provenance is written with each transaction; ``None`` where none is: as set, else where declared."""
        wanted = self._site.settings.provenance
        declared = "Provenance" in self._site.capabilities.types
        if wanted == "never" or (wanted == "auto" and not declared) or self.form != "transaction":
            return None
        found = self.of("Provenance")
        return found if isinstance(found, Strategy) and found.rung.key == "id" else None

    @property
    def limit(self) -> Limit:
        """What fits into one bundle, by settings, proof and experience."""
        most = entries(self._site.settings, self.proof)
        return Limit(
            min(most, self._limits.get(ENTRIES, most)), min(LARGEST_BUNDLE, self._limits.get(SIZE, LARGEST_BUNDLE))
        )

    def without_bundles(self) -> bool:
        """Remember that the site takes no bundles; false where that cannot be the reason for what it said.

        A server that has told what it is answers 404 to a bundle because it takes none; another one may not be there.
        """
        if self._site.settings.transaction != "auto" or self._site.capabilities.fhir_version is None:
            return False
        self._ledger.learn_limit(self._site.name, SINGLE, 1)
        self.form = "single"
        return True

    def too_large(self, sent: int) -> None:
        """Remember that a bundle of so many entries was too large. Raises :class:`LedgerError`."""
        kept = self._ledger.learn_limit(self._site.name, ENTRIES, max(1, sent // 2))
        self._limits = self._limits | {ENTRIES: kept}


def check_writable(ways: Ways, types: Iterable[str]) -> None:
    """Raise :class:`ConfigError` where none of ``types`` can be written safely, with the reason."""
    found = [ways.of(one) for one in types]
    refused = [one for one in found if isinstance(one, Refusal)]
    if refused and len(refused) == len(found):
        raise ConfigError(refused[0].message, code=f"write.{refused[0].reason}", hint=refused[0].hint)


def kept_proof(ledger: Ledger, site: str) -> Proof | None:
    """What the last probe of a site proved, if there was one that this version understands."""
    kept = ledger.proof(site)
    if kept is None:
        return None
    try:
        return Proof.from_json(parse(kept.text.encode()))
    except JsonError:
        return None


def keep_proof(ledger: Ledger, site: str, proof: Proof) -> None:
    """Keep what a probe proved with the site."""
    ledger.keep_proof(site, dump(proof.as_json()).decode())
