"""Pages of a search, one after the other, and never out of the site, nor in a circle, nor on and on with nothing new.

A circle shows by a link that was followed before. A server that makes up a new link each time shows by pages without
anything new: empty, or with the very resources of an earlier page. Some in a row are in order (what a search found may
be filtered afterwards), a hundred are not. Both are remembered as hashes, some hundred bytes a page.
"""

from __future__ import annotations

from collections.abc import Iterator

from fhirbridge.client.origin import within
from fhirbridge.client.rest import Client
from fhirbridge.errors import SiteUntrusted
from fhirbridge.fhir.bundle import next_link
from fhirbridge.fhir.json import Tree

MOST_PAGES = 1_000_000
MOST_STALE = 100


def pages(client: Client, first: Tree, most: int = MOST_PAGES) -> Iterator[Tree]:
    """The page ``first`` and those that follow it by their ``next`` links.

    Raises :class:`SiteUntrusted` for a link that leaves the site or was followed before, after :data:`MOST_STALE` pages
    in a row without anything new, and after ``most`` pages.
    """
    # Hashes suffice: a false alarm would take some 2^32 pages.
    followed: set[int] = set()
    contents = {_content([])}
    stale = 0
    page = first
    for _ in range(most):
        yield page
        link = next_link(page)
        if link is None:
            return
        content = _content(page.get("entry"))
        stale = stale + 1 if content in contents else 0
        contents.add(content)
        address = within(client.base, link)
        if hash(address) in followed or stale >= MOST_STALE:
            raise SiteUntrusted("the pages of the site lead in a circle", code="site.page_loop")
        followed.add(hash(address))
        page = client.page(address)
    raise SiteUntrusted(f"the site has more than {most} pages", code="site.too_many_pages", hint="raise page_size")


def _content(entries: object) -> int:
    """Which resources stand on a page, in whatever order."""
    found = [one.get("resource") for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    return hash(
        frozenset(f"{one.get('resourceType')}/{one['id']}" for one in found if isinstance(one, dict) and "id" in one)
    )
