"""The trail that belongs to a configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fhirbridge.audit.auditor import SILENCE, Audit, Auditor
from fhirbridge.audit.checkpoint import Checkpoints
from fhirbridge.audit.interaction import Masks
from fhirbridge.audit.keys import Keys
from fhirbridge.audit.shape import Shape
from fhirbridge.audit.trail import Trail
from fhirbridge.binding import Binding
from fhirbridge.config import Config
from fhirbridge.errors import ConfigError


def open_audit(
    config: Config, binding: Binding, name: str = "", base: str = "", clock: Callable[[], float] = time.time
) -> Auditor:
    """What hears of the work at the site ``name`` at ``base``, or of the clinic's own keeping where both are empty.

    Nothing is written before there is something to tell. Raises :class:`ConfigError` where a key cannot be read.
    """
    if not config.audit.enabled:
        return SILENCE
    keys = audit_keys(config)
    trail = Trail(audit_folder(config), keys, config.clinic.domain, clock=clock, checkpoints=_checkpoints(config, keys))
    return Audit(trail, Shape(binding, name, base), Masks(base, keys), clock)


def audit_folder(config: Config) -> Path:
    """Where the trail is: a folder beside the configuration, unless it says otherwise."""
    return Path(config.beside(str(config.audit.path)))


def audit_keys(config: Config) -> Keys:
    """The keys of the trail: its own, else one made from the id key; and every one that it had before.

    The id key always checks, so a trail that was begun without a key of its own is readable still. Raises
    :class:`ConfigError` where one cannot be read.
    """
    own = (config.audit_key(),) if config.audit.key is not None else ()
    id_key = config.id_key()
    return Keys((*own, id_key, *config.old_audit_keys()), id_key, config.clinic.domain)


def _checkpoints(config: Config, keys: Keys) -> Checkpoints | None:
    if config.audit.checkpoint is None:
        return None
    path = Path(config.beside(str(config.audit.checkpoint)))
    if path.parent.resolve() == audit_folder(config).resolve():
        raise ConfigError(
            "audit.checkpoint lies in the folder of the trail", code="config.audit_checkpoint",
            hint="put it on another disk, where whoever changes the trail cannot change it",
        )  # fmt: skip
    return Checkpoints(path, keys, config.clinic.domain, config.audit.checkpoint_every)
