"""The command line's frame: global options, and the one place where an error becomes a message and an exit code.

0    all well
1    something was refused or failed, and is listed
2    wrong use or configuration
3    the site could not be reached
4    an adverse event has waited longer than its limit (status)
130  stopped by Ctrl-C; what was done is kept
141  the reader of standard output went away
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fhirbridge.cli.console import say, say_error
from fhirbridge.config import Config, load
from fhirbridge.errors import (
    ConfigError,
    FhirbridgeError,
    LedgerMismatch,
    SiteUnreachable,
    SourceError,
    UsageError,
    VaultError,
)
from fhirbridge.site import Site

FAILED = 1
ALARM = 4
_WRONG_USE = 2
_UNREACHABLE = 3
_INTERRUPTED = 130
_BROKEN_PIPE = 141


class _Guarded(TyperGroup):
    """Runs a command and turns whatever it raises into an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FhirbridgeError as error:
            say_error(error)
            raise typer.Exit(_exit_code(error)) from None
        except KeyboardInterrupt:
            say("stopped; what was done is kept")
            raise typer.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            # Python would complain once more when it flushes standard output at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_BROKEN_PIPE) from None
        except OSError as error:
            say(f"fhirbridge: {error.strerror or 'reading or writing failed'}")
            raise typer.Exit(FAILED) from None


def _exit_code(error: FhirbridgeError) -> int:
    if isinstance(error, ConfigError | UsageError | SourceError | LedgerMismatch | VaultError):
        return _WRONG_USE
    return _UNREACHABLE if isinstance(error, SiteUnreachable) else FAILED


app = typer.Typer(
    cls=_Guarded,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Ketamine clinic records to FHIR R4, R4B and R5, and back.",
    epilog="Exit codes: 0 all well; 1 something was refused or failed, and is listed; 2 wrong use or configuration; "
    "3 the site could not be reached.",
)


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Configuration file; else FHIRBRIDGE_CONFIG, else ./fhirbridge.toml.")
    ] = None,
) -> None:
    """Ketamine clinic records to FHIR R4, R4B and R5, and back."""
    context.obj = config


def configuration(context: typer.Context) -> Config:
    """The configuration that applies. Raises :class:`ConfigError`."""
    return load(context.obj, os.environ, Path.cwd())


def caution(site: Site) -> None:
    """Show what has to be known before anything is sent to a site."""
    for warning in site.warnings:
        say(f"warning: {warning}")


def warned(config: Config) -> Config:
    """The configuration, after its warnings have been shown: for commands whose results depend on the id key."""
    for warning in config.warnings:
        say(f"warning: {warning}")
    return config
