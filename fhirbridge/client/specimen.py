"""The resources that trials are made with: of no patient, saying what they are, tagged with the run. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from fhirbridge.binding import Binding
from fhirbridge.fhir.json import Tree
from fhirbridge.records import Decimal

# Kinds of resource that need no patient and no other resource, the less clinical one first.
TRIAL_TYPES = ("Basic", "Observation")
# A server that reckons with it makes 0.5 of it.
DECIMAL = "0.50"


@dataclass(frozen=True, slots=True)
class Specimens:
    """Trial resources of one type, for one run."""

    binding: Binding
    run: str
    type: str

    @property
    def system(self) -> str:
        """The code system of the tags on everything that is made."""
        return self.binding.code_system("probe")

    def make(self, number: int, words: str = "first") -> Tree:
        """The resource of that number under an id, an identifier and a tag of its own; other ``words`` are other
        content."""
        name = f"{self.run}-{number}"
        head = {
            "resourceType": self.type,
            "id": self.binding.resource_id("probe", name),
            "meta": {"tag": [{"system": self.system, "code": code} for code in (self.run, name)]},
            "identifier": [{"system": self.binding.sid("probe"), "value": name}],
            "code": {"text": f"fhirbridge probe, not a finding ({words})"},
        }
        if self.type == "Basic":
            url = f"{self.binding.clinic.base}/StructureDefinition/probe-decimal"
            return {**head, "extension": [{"url": url, "valueDecimal": Decimal(DECIMAL)}]}
        return {**head, "status": "unknown", "valueQuantity": {"value": Decimal(DECIMAL)}}

    def decimal_in(self, resource: Tree) -> str | None:
        """The text of the decimal in a resource that came back; ``None`` where it has none."""
        try:
            if self.type == "Basic":
                return str(resource["extension"][0]["valueDecimal"])
            return str(resource["valueQuantity"]["value"])
        except (KeyError, IndexError, TypeError):
            return None

    def ours(self, resource: Tree) -> bool:
        """Whether a resource carries this run's tag: nothing else is ever removed."""
        meta = resource.get("meta")
        tags = meta.get("tag") if isinstance(meta, dict) else None
        mine = {"system": self.system, "code": self.run}
        return isinstance(tags, list) and any(isinstance(tag, dict) and mine.items() <= tag.items() for tag in tags)


def by_identifier(resource: Tree) -> str:
    """The search query for a resource's identifier."""
    identifier = resource["identifier"][0]
    return f"identifier={quote(identifier['system'] + '|' + identifier['value'], safe='')}"


def by_tag(resource: Tree) -> str:
    """The search query for the tag that only this resource has."""
    tag = resource["meta"]["tag"][-1]
    return f"_tag={quote(tag['system'] + '|' + tag['code'], safe='')}"


def without_id(resource: Tree) -> Tree:
    """A resource as it is POSTed: the server chooses the id."""
    return {name: member for name, member in resource.items() if name != "id"}


def put_entry(base: str, resource: Tree, if_match: str | None = None) -> Tree:
    """A bundle entry that puts a resource to its own address."""
    address = f"{resource['resourceType']}/{resource['id']}"
    condition = {"ifMatch": f'W/"{if_match}"'} if if_match else {}
    request = {"method": "PUT", "url": address, **condition}
    return {"fullUrl": f"{base}/{address}", "resource": resource, "request": request}


def post_entry(resource: Tree, if_none_exist: str | None = None) -> Tree:
    """A bundle entry that creates a resource."""
    condition = {"ifNoneExist": if_none_exist} if if_none_exist else {}
    request = {"method": "POST", "url": resource["resourceType"], **condition}
    return {"resource": without_id(resource), "request": request}
