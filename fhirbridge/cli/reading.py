"""Which records a command reads: a file, standard input, or a source of the configuration."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from fhirbridge.config import Config, SourceSettings
from fhirbridge.errors import UsageError
from fhirbridge.mapping import kinds
from fhirbridge.sources import Line, SourceShape, column_map, open_source
from fhirbridge.sources.lines import Models
from fhirbridge.sources.position import Position
from fhirbridge.sources.sql import Query, Table, open_table


def open_records(path: str | None, source: str | None, config: Config) -> AbstractContextManager[Iterator[Line]]:
    """The lines of ``path``, or of the configured ``source``; with both, ``path`` is read in the way of ``source``.

    A database is read from its beginning.
    """
    models = _models()
    if source is None:
        if path is None:
            raise UsageError("no records are given", code="usage.no_input", hint="name a file, - or --source NAME")
        return open_source(path, models)
    settings = config.source(source)
    if path is None and settings.url is not None:
        return _all_rows(source, config)
    return open_source(path or config.beside(settings.path), models, shape_of(settings))


def open_rows(source: str, config: Config, since: Position, key: bytes) -> AbstractContextManager[Table]:
    """The rows of a configured database behind a position; ``key`` keys the digests by which it knows them."""
    settings = config.source(source)
    url, password = config.database(settings)
    query = Query(url, settings.query or "", settings.mark or "", password)
    columns = column_map(_models(), shape_of(settings))
    return open_table(source, query, columns, settings.ignore_columns, since, key)


@contextmanager
def _all_rows(source: str, config: Config) -> Iterator[Iterator[Line]]:
    with open_rows(source, config, Position(), secrets.token_bytes(16)) as table:
        yield iter(table)


def _models() -> Models:
    return {name: kind.record for name, kind in kinds().items()}


def shape_of(settings: SourceSettings) -> SourceShape:
    """What the configuration says about a source beside its path."""
    return SourceShape(
        settings.format,
        settings.kind,
        settings.columns,
        settings.constants,
        settings.ignore_columns,
        settings.delimiter,
        settings.list_separator,
    )
