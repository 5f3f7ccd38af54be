"""Types of configuration values: what is accepted and the sentence that says so.

A type's `Allowed` replaces whatever pydantic would say about a wrong value, so that an operator reads what a
value has to be and not which validator refused it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SecretStr,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

#: name of a host: labels that are not all digits at its end (RFC 1123, 2.1)
_HOST_NAME = re.compile(r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]*[A-Za-z][A-Za-z0-9_-]*\.?", re.ASCII)


class Section(BaseModel):
    """A mapping of the configuration file: every key is known, and none changes after it was read."""

    # built at first use, as parts of the whole: building each section at import as well takes twice the time
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )


@dataclass(frozen=True)
class Allowed:
    """Says what a value has to be, instead of pydantic's own messages."""

    text: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        message = f"has to be {self.text}"
        return core_schema.custom_error_schema(handler(source), "allowed", custom_error_message=message)


def mistake(allowed: str, *key: str) -> PydanticCustomError:
    """Make an error about values that do not fit together; `key` is the one to change, within the value."""
    return PydanticCustomError("mistake", "{allowed}", {"allowed": allowed, "key": key})


def _no_truth_value(value: Any) -> Any:
    """Refuse true and false where a number is meant: Python would count them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError
    return value


def _listed(value: Any) -> Any:
    """Turn a single value into a list of one, nothing into an empty list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _split(value: Any) -> Any:
    """Turn text with commas into a list of its parts."""
    parts = value.split(",") if isinstance(value, str) else _listed(value)
    return [part.strip() if isinstance(part, str) else part for part in parts if part != ""]


def _absolute(path: Path) -> Path:
    """Refuse a path that depends on the folder in which a process was started."""
    if not path.is_absolute():
        raise ValueError
    return path


def _limit(value: float) -> float:
    """Refuse negative numbers other than -1."""
    if value < 0 and value != -1:
        raise ValueError
    return value


def _network_or_host(value: str) -> str:
    """Refuse what looks like a network or an address and is none."""
    if not _HOST_NAME.fullmatch(value):
        ipaddress.ip_network(value, strict=False)
    return value


def _unique(values: list[Any]) -> list[Any]:
    """Refuse a list that names something twice."""
    if len(set(values)) < len(values):
        raise mistake("names something twice")
    return values


_NoTruth = BeforeValidator(_no_truth_value)

Flag: TypeAlias = Annotated[bool, Allowed("true or false")]
Number: TypeAlias = Annotated[float, _NoTruth, Allowed("a number")]
Positive: TypeAlias = Annotated[float, _NoTruth, Field(gt=0), Allowed("a number above 0")]
NotNegative: TypeAlias = Annotated[float, _NoTruth, Field(ge=0), Allowed("a number, 0 or more")]
Fraction: TypeAlias = Annotated[float, _NoTruth, Field(ge=0, le=1), Allowed("a number from 0 to 1")]
#: -1 means no limit
Limit: TypeAlias = Annotated[
    float, _NoTruth, AfterValidator(_limit), Allowed("a number, 0 or more, or -1 for no limit")
]
Count: TypeAlias = Annotated[int, _NoTruth, Field(ge=1), Allowed("a whole number, 1 or more")]
Index: TypeAlias = Annotated[int, _NoTruth, Field(ge=0), Allowed("a whole number, 0 or more")]
Port: TypeAlias = Annotated[int, _NoTruth, Field(ge=1, le=65535), Allowed("a port number, 1 to 65535")]

_ANY_TEXT = Allowed("text (in quotes if it looks like a number)")

Text: TypeAlias = Annotated[str, Field(min_length=1), _ANY_TEXT]
#: how triggers are grouped, see `darc.science.clustering`
GroupingMethod: TypeAlias = Literal["windows", "linked"]
Secret: TypeAlias = Annotated[SecretStr, Field(min_length=1), _ANY_TEXT]
FilePath: TypeAlias = Annotated[
    Path, AfterValidator(_absolute), Allowed("a path that begins with / or with {home}/")
]
#: part of an IVOA identifier (IVOA Identifiers 2.0: letters, digits and marks)
IvornPart: TypeAlias = Annotated[
    str,
    Field(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._~-]*\z"),
    Allowed("letters, digits and . _ ~ - only, such as nl.astron"),
]
#: what a host may be called, and what may stand in the path of a file
NodeName: TypeAlias = Annotated[
    str,
    Field(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]*\z"),
    Allowed("a name of letters, digits and . _ - only, such as arts001"),
]
#: one line, so that nothing can be added to the header of a mail
MailAddress: TypeAlias = Annotated[
    str, Field(pattern=r"\A[^\s,@]+(@[^\s,@]+)?\z"), Allowed("a mail address, such as observer@example.org")
]

#: a network or address, or anything else for the name of a host
NetworkOrHost: TypeAlias = Annotated[
    str,
    AfterValidator(_network_or_host),
    Allowed("a network such as 10.87.0.0/24, an address, or the name of a host"),
]

Beams: TypeAlias = Annotated[list[Index], BeforeValidator(_listed)]
MailAddresses: TypeAlias = Annotated[list[MailAddress], BeforeValidator(_split)]
#: an external program with its arguments
Command: TypeAlias = Annotated[list[Text], BeforeValidator(_listed)]

ServiceName: TypeAlias = Literal[
    "amber_listener",
    "amber_clustering",
    "dada_trigger",
    "processor",
    "offline_processing",
    "status_website",
    "lofar_trigger",
    "voevent_generator",
    "processor_master",
]
Services: TypeAlias = Annotated[list[ServiceName], AfterValidator(_unique)]
PlotType: TypeAlias = Literal["freq_time", "dm_time", "1d_time"]
PlotTypes: TypeAlias = Annotated[list[PlotType], Field(min_length=1), AfterValidator(_unique)]
CleanType: TypeAlias = Literal["time", "frequency", "both", "perchannel", "none"] | None
