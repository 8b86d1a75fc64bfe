"""Which records a command reads: a file, standard input, or a source of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from fhirbridge.config import Config, SourceSettings
from fhirbridge.errors import UsageError
from fhirbridge.mapping import kinds
from fhirbridge.sources import Line, SourceShape, open_source


def open_records(path: str | None, source: str | None, config: Config) -> AbstractContextManager[Iterator[Line]]:
    """The lines of ``path``, or of the configured ``source``; with both, ``path`` is read in the way of ``source``."""
    models = {name: kind.record for name, kind in kinds().items()}
    if source is None:
        if path is None:
            raise UsageError("no records are given", code="usage.no_input", hint="name a file, - or --source NAME")
        return open_source(path, models)
    settings = config.source(source)
    return open_source(path or config.beside(settings.path), models, shape_of(settings))


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
