"""Pages of a search, one after the other, and never out of the site nor in a circle."""

from __future__ import annotations

from collections.abc import Iterator

from fhirbridge.client.origin import within
from fhirbridge.client.rest import Client
from fhirbridge.errors import SiteUntrusted
from fhirbridge.fhir.bundle import next_link
from fhirbridge.fhir.json import Tree

MOST_PAGES = 1_000_000


def pages(client: Client, first: Tree, most: int = MOST_PAGES) -> Iterator[Tree]:
    """The page ``first`` and those that follow it by their ``next`` links.

    Raises :class:`SiteUntrusted` for a link that leaves the site, that was followed before, or after ``most`` pages.
    """
    followed: set[int] = set()
    page = first
    for _ in range(most):
        yield page
        link = next_link(page)
        if link is None:
            return
        address = within(client.base, link)
        # A hash suffices: a false alarm would take some 2^32 pages, and addresses of cursors are long.
        if hash(address) in followed:
            raise SiteUntrusted("the pages of the site lead in a circle", code="site.page_loop")
        followed.add(hash(address))
        page = client.page(address)
    raise SiteUntrusted(f"the site has more than {most} pages", code="site.too_many_pages", hint="raise page_size")
