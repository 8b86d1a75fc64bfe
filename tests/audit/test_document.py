"""docs/audit.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from fhirbridge.config import AuditSettings

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "audit.md"


def test_every_key_of_the_configuration_is_explained_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\S[^|]*) \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert rows.keys() == AuditSettings.model_fields.keys()
    for name in ("enabled", "path", "checkpoint_every"):
        default = str(AuditSettings.model_fields[name].default)
        assert rows[name].strip("`") == ("true" if default == "True" else default)
