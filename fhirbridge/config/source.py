"""Where records come from."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fhirbridge.config.secret import Secret
from fhirbridge.config.table import Table

DatabaseUrl = Annotated[str, StringConstraints(max_length=2048, pattern=r"^[a-z][a-z0-9_]*(\+[a-z0-9_]+)?://\S*$")]
Statement = Annotated[str, StringConstraints(min_length=1, max_length=65_536, pattern=r"\S")]
# What stands between the first colon and the @ is a password to SQLAlchemy; drivers take one as a parameter as well.
_PASSWORD_IN_URL = re.compile(r"^[\w+]+://[^:/]*:[^@]*@|(?:passw(?:or)?d|pwd)(?:=|%3d)", re.IGNORECASE)


class SourceSettings(Table):
    """``[source.NAME]``: where records come from and, for rows of CSV or SQL, which column is which field."""

    path: str = "-"
    url: DatabaseUrl | None = None
    password: Secret | None = None
    query: Statement | None = None
    mark: Statement | None = None
    format: Literal["ndjson", "json", "csv"] | None = None
    kind: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    constants: dict[str, Any] = Field(default_factory=dict)
    ignore_columns: tuple[str, ...] = ()
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    list_separator: Annotated[str, StringConstraints(min_length=1, max_length=8)] = ";"

    @model_validator(mode="after")
    def _csv_has_a_map(self) -> SourceSettings:
        if self.format == "csv" and (self.kind is None or not self.columns):
            raise PydanticCustomError("csv_map", "a CSV source needs a kind and columns")
        return self

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str | None) -> str | None:
        if url is not None and _PASSWORD_IN_URL.search(url) is not None:
            raise PydanticCustomError("password_in_clear", "a password does not stand in this file")
        return url

    @model_validator(mode="after")
    def _sql_is_whole(self) -> SourceSettings:
        if self.url is None:
            if self.query is not None or self.mark is not None or self.password is not None:
                raise PydanticCustomError("sql_source", "a query, a mark and a password belong to a url")
        elif self.query is None or self.mark is None or self.kind is None or not self.columns:
            raise PydanticCustomError("sql_source", "a SQL source needs a query, a mark, a kind and columns")
        elif "path" in self.model_fields_set or self.format is not None:
            raise PydanticCustomError("sql_source", "a SQL source has neither path nor format")
        return self
