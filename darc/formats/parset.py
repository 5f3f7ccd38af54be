"""Parsets: the observation's configuration, plain and encoded, and what is read from it.

Only the standard library and yaml are imported: the master node's command loop and the command line use
this module.
"""

from __future__ import annotations

import bz2
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from darc.definitions import ARTS, Instrument
from darc.errors import DARCError
from darc.formats.files import read_text, read_yaml_mapping, shown
from darc.formats.parset_types import TEXT_KEYS, TYPED_KEYS, finite_number, whole_number
from darc.formats.utc import EPOCH, UTCError, header_text, parse_utc

#: Limit of an observation's configuration file in bytes; real ones have 10 kB.
MAX_FILE_BYTES = 2**20
#: Limit of an encoded parset in bytes once decompressed; real ones have 23 kB.
MAX_DECODED_BYTES = 16 * 2**20

#: What a worker node takes from the master node's configuration of an observation.
MASTER_KEYS = ("parset", "utc_start", "freq")

#: Quoted text inside a value, or (group 1) a comment. A quote after a letter is an apostrophe.
_QUOTED_OR_COMMENT = re.compile(r"""(?<!\w)(?:"[^"]*"|'[^']*')|(\#)""")
_QUOTED = re.compile(r"""(["'])((?:(?!\1).)*)\1""", re.DOTALL)
_PATH_COMPONENT = re.compile(r"[A-Za-z0-9 +\-_.:,=@]")
_PATH_COMPONENT_MAX = 200
_DIRECTION = re.compile(r"\[\s*([-+.\deE]+)\s*deg\s*,\s*([-+.\deE]+)\s*deg\s*\]", re.ASCII)


class ParsetError(DARCError):
    """A parset or an observation's configuration cannot be used; the message says where and why."""


def _typed(key: str, value: Any, convert: Callable[[Any], Any], allowed: str) -> Any:
    try:
        return convert(value)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ParsetError(f"{key} = {shown(value)}: allowed is {allowed}") from error


def parse_parset(text: str) -> dict[str, Any]:
    """Read lines `key = value`.

    The first `=` separates. Blank lines and lines that start with `#` are skipped; a later `#` begins a
    comment unless it is the value's first character or stands inside quotes. Quotes around a whole value
    are removed. Of a key that comes twice, the last value counts.

    Returns:
        text per key, but an integer for startpacket, beam, ntabs, nsynbeams, network_port_event_i and
        network_port_event_iquv; a float for duration, history_i, history_iquv, snrmin and min_freq; a
        boolean for proctrigger and enable_iquv; a list of integers for beams

    Raises:
        ParsetError: a line is no `key = value`, or a value has the wrong type; names line, key and value
    """
    parset = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, separator, rest = stripped.partition("=")
        key = key.strip()
        if not separator or not key or "#" in key:
            raise ParsetError(f"line {number}: {shown(stripped)} is not `key = value`")
        value = _without_comment(rest.strip())
        if "\0" in value:
            raise ParsetError(f"line {number}: the value of {key} holds a NUL character")
        try:
            parset[key] = _typed(key, value, *TYPED_KEYS[key]) if key in TYPED_KEYS else value
        except ParsetError as error:
            raise ParsetError(f"line {number}: {error}") from error
    return parset


def _without_comment(value: str) -> str:
    for match in _QUOTED_OR_COMMENT.finditer(value):
        if match[1] and match.start() > 0:
            value = value[: match.start()].rstrip()
            break
    quoted = _QUOTED.fullmatch(value)
    return quoted[2] if quoted else value


def encode_parset(text: str) -> str:
    """Return hexadecimal text of the bz2-compressed UTF-8 parset, as `parset` of the master node has it."""
    return bz2.compress(text.encode()).hex()


def decode_parset(hex_text: str, max_bytes: int = MAX_DECODED_BYTES) -> str:
    """Return the parset that `encode_parset` encoded.

    At most `max_bytes` are decompressed, whatever the input holds.

    Raises:
        ParsetError: not hexadecimal, not bz2, incomplete, too large once decompressed, or not UTF-8
    """
    problem = "the encoded parset cannot be decoded: "
    if not isinstance(hex_text, str) or len(hex_text) > 3 * max_bytes:
        raise ParsetError(f"{problem}it has to be hexadecimal text of at most {3 * max_bytes} characters")
    decompressor = bz2.BZ2Decompressor()
    try:
        content = decompressor.decompress(bytes.fromhex(hex_text), max_bytes + 1)
    except ValueError as error:
        raise ParsetError(f"{problem}not hexadecimal: {shown(hex_text)}") from error
    except OSError as error:
        raise ParsetError(f"{problem}not bz2-compressed data, or damaged") from error
    if len(content) > max_bytes:
        raise ParsetError(f"{problem}more than {max_bytes} bytes once decompressed")
    if not decompressor.eof or decompressor.unused_data:
        state = "is incomplete" if not decompressor.eof else "has something after its end"
        raise ParsetError(f"{problem}the compressed data {state}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParsetError(f"{problem}not UTF-8 text ({error.reason} at byte {error.start})") from error


def check_path_component(key: str, value: str) -> str:
    """Return `value` if it is safe as the name of a file or folder, and on a command line.

    Allowed are ASCII letters, digits, spaces between them, and `+ - _ . : , = @`, as in
    `2019-05-18-23:51:13.B1933+16` or `3C286drift0107`. Refused are therefore `/`, control characters and
    everything that means something to a shell but the space; and `..`, and a `.` or `-` at the beginning.

    Raises:
        ParsetError: it is not; names key, value and reason
    """
    refused = _PATH_COMPONENT.sub("", value)
    if refused:
        reason = f"{refused[0]!r} is not allowed: only letters, digits, spaces and + - _ . : , = @ are"
    elif not value or value != value.strip():
        reason = "it must not be empty, nor begin or end with a space"
    elif value[0] in ".-" or ".." in value:
        reason = "it must not begin with . or -, nor hold two dots in a row"
    elif len(value) > _PATH_COMPONENT_MAX:
        reason = f"it must not be longer than {_PATH_COMPONENT_MAX} characters"
    else:
        return value
    raise ParsetError(f"{key} = {shown(value)} is not safe as the name of a folder: {reason}")


def load_obs_config(path: Path | str) -> dict[str, Any]:
    """Read an observation's configuration from a `.parset` or `.yaml` file, and check it.

    Checked are the types, that the names that become folders are safe, and that an encoded observation
    parset can be read and has a safe source name.

    Raises:
        ParsetError: one of these fails, or the file cannot be read; names the file
    """
    path = Path(path)
    if path.suffix not in (".parset", ".yaml"):
        raise ParsetError(f"{path}: an observation's configuration has to end in .parset or .yaml")
    if path.suffix == ".yaml":
        content = read_yaml_mapping(path, MAX_FILE_BYTES, ParsetError)
    else:
        content = {}
        text = read_text(path, MAX_FILE_BYTES, ParsetError)
    try:
        config = _typed_mapping(content) if path.suffix == ".yaml" else parse_parset(text)
        _check_names(config)
    except ParsetError as error:
        raise ParsetError(f"{path}: {error}") from error
    return config


def _typed_mapping(content: dict[str, Any]) -> dict[str, Any]:
    config = dict(content)
    known = TYPED_KEYS | TEXT_KEYS
    for key in content.keys() & known.keys():
        config[key] = _typed(key, content[key], *known[key])
        if isinstance(config[key], str) and "\0" in config[key]:
            raise ParsetError(f"the value of {key} holds a NUL character")
    return config


def _check_names(config: Mapping[str, Any]) -> None:
    for key in ("date", "datetimesource", "source"):
        if key in config:
            check_path_component(key, config[key])
    if "parset" in config:
        task = Task(parse_parset(decode_parset(config["parset"])))
        if "task.source.name" in task.parset:
            check_path_component("task.source.name", task.source_name)


def observation_parset(obs_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the decoded observation parset (`task.*` and more).

    It is `parset` of the observation's configuration on the master node, else of
    `<master_dir>/parset/darc_master.parset`.

    Raises:
        ParsetError: it is in neither place, or cannot be read
    """
    source = obs_config if "parset" in obs_config else _master_config(obs_config)
    if "parset" not in source:
        raise ParsetError(
            "no observation parset: the observation's configuration has no `parset`, and neither has "
            f"{_master_file(obs_config) or 'the master node, as it names no `master_dir`'}"
        )
    return parse_parset(decode_parset(source["parset"]))


def _master_file(obs_config: Mapping[str, Any]) -> Path | None:
    folder = obs_config.get("master_dir")
    return Path(str(folder), "parset", "darc_master.parset") if folder else None


def _master_config(obs_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the master node's configuration of this observation; empty if there is none."""
    path = _master_file(obs_config)
    if path is None or not path.is_file():
        return {}
    config = load_obs_config(path)
    ours, theirs = obs_config.get("datetimesource"), config.get("datetimesource")
    if ours and theirs and ours != theirs:  # it is overwritten by the next observation
        return {}
    return config


def completed(obs_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with `MASTER_KEYS` of the master node, whose file the next one overwrites."""
    try:
        master = _master_config(obs_config)
    except ParsetError:
        master = {}  # whoever needs it says what is wrong with it
    return {key: master[key] for key in MASTER_KEYS if key in master} | dict(obs_config)


def utc_start(obs_config: Mapping[str, Any], instrument: Instrument = ARTS) -> str:
    """Return the start as the data headers carry it, `YYYY-MM-DD-HH:MM:SS`.

    It can differ from `start_time_unix` by up to a second, and dada_dbevent compares it to the header's.
    Taken from `utc_start` of the configuration or of the master node's; without one, it is the beginning of
    `datetimesource`; without that, `startpacket` as a time with its fraction of a second dropped.

    Raises:
        ParsetError: none of these is there, or the first one that is cannot be read
    """
    known = obs_config.get("utc_start") or _master_config(obs_config).get("utc_start")
    if known:
        return header_text(_moment("utc_start", known))
    try:
        return header_text(parse_utc(str(obs_config.get("datetimesource", ""))[:19]))
    except UTCError:
        seconds = math.floor(start_time_unix(obs_config, instrument))
    try:
        return header_text(EPOCH + timedelta(seconds=seconds))
    except OverflowError as error:
        raise ParsetError(f"startpacket = {obs_config['startpacket']} is not a time") from error


def start_time_unix(obs_config: Mapping[str, Any], instrument: Instrument = ARTS) -> float:
    """Return the start in unix seconds that the beamformer was given: `startpacket` over its time unit.

    Raises:
        ParsetError: `startpacket` is missing or no whole number
    """
    startpacket: int = _typed("startpacket", _required(obs_config, "startpacket"), *TYPED_KEYS["startpacket"])
    try:
        return startpacket / instrument.time_unit_hz
    except OverflowError as error:
        raise ParsetError(f"startpacket = {shown(startpacket)} is not a time") from error


def freq_mhz(obs_config: Mapping[str, Any], instrument: Instrument = ARTS) -> float:
    """Return the centre of the band in MHz: `freq` here or on the master node, else from `min_freq`.

    Raises:
        ParsetError: the value is no number
    """
    freq = obs_config.get("freq") or _master_config(obs_config).get("freq")
    if freq:
        return float(_typed("freq", freq, finite_number, "a frequency in MHz"))
    min_freq = obs_config.get("min_freq", instrument.min_freq_mhz)
    return instrument.centre_freq_mhz(_typed("min_freq", min_freq, finite_number, "a frequency in MHz"))


def task_id(obs_config: Mapping[str, Any]) -> str:
    """Return the task ID, safe as part of a path, from the observation's parset, else from `taskid`.

    Raises:
        ParsetError: neither says it, or it is not safe
    """
    try:
        return Task.from_parset(observation_parset(obs_config)).task_id
    except DARCError as error:
        if obs_config.get("taskid") in (None, ""):
            raise ParsetError(f"the observation has no task ID: {error}") from error
        return check_path_component("taskid", str(obs_config["taskid"]))


def _required(parset: Mapping[str, Any], key: str) -> Any:
    if parset.get(key) in (None, ""):
        raise ParsetError(f"{key} is missing")
    return parset[key]


def _moment(key: str, value: Any) -> datetime:
    try:
        return (
            value.replace(tzinfo=UTC) if isinstance(value, datetime) else parse_utc(str(value).strip("\"' "))
        )
    except UTCError as error:
        raise ParsetError(f"{key}: {error}") from error


@dataclass(frozen=True)
class Task:
    """What the observation parset says about the task; a value is read, and checked, when asked for.

    Every property raises ParsetError, naming the key, if the value is missing or cannot be read.
    """

    parset: Mapping[str, Any]

    @classmethod
    def from_parset(cls, parset: Mapping[str, Any]) -> Task:
        """Return the view on a decoded observation parset."""
        return cls(parset)

    def _text(self, key: str) -> str:
        return str(_required(self.parset, key)).strip("\"' ")

    @property
    def task_id(self) -> str:
        """Task ID, safe as part of a path."""
        return check_path_component("task.taskID", self._text("task.taskID"))

    @property
    def start_time(self) -> datetime:
        """Scheduled start (UTC)."""
        return _moment("task.startTime", self._text("task.startTime"))

    @property
    def stop_time(self) -> datetime:
        """Scheduled end (UTC)."""
        return _moment("task.stopTime", self._text("task.stopTime"))

    @property
    def duration_s(self) -> float:
        """Scheduled duration in s."""
        return float(
            _typed("task.duration", self._text("task.duration"), finite_number, "a number of seconds")
        )

    @property
    def source_name(self) -> str:
        """Name of the source, safe as part of a path."""
        return check_path_component("task.source.name", self._text("task.source.name"))

    @property
    def source_beam(self) -> int | None:
        """Compound beam in which the source was put; None if the parset does not say."""
        if "task.source.beam" not in self.parset:
            return None
        return int(_typed("task.source.beam", self._text("task.source.beam"), whole_number, "a beam number"))

    @property
    def telescopes(self) -> list[str]:
        """Names of the dishes, such as RT2."""
        text = self._text("task.telescopes")
        if not (text.startswith("[") and text.endswith("]")):
            raise ParsetError(f"task.telescopes = {shown(text)}: allowed is a list such as [RT2, RT3]")
        return [name for name in (part.strip("\"' ") for part in text[1:-1].split(",")) if name]

    @property
    def reference_frame(self) -> str:
        """Frame of the directions: `J2000` (RA, Dec) or `HADEC` (hour angle, Dec)."""
        frame = self._text("task.directionReferenceFrame")
        if frame not in ("J2000", "HADEC"):
            raise ParsetError(f"task.directionReferenceFrame = {shown(frame)}: allowed are J2000 and HADEC")
        return frame

    def phase_centre_deg(self, beam: int) -> tuple[float, float]:
        """Return the direction of a compound beam: RA or hour angle, and Dec, in degrees."""
        key = f"task.beamSet.0.compoundBeam.{beam}.phaseCenter"
        text = self._text(key)
        match = _DIRECTION.fullmatch(text)
        allowed = "a pair in degrees such as [293.948755deg, 16.277785deg]"
        if not match:
            raise ParsetError(f"{key} = {shown(text)}: allowed is {allowed}")
        longitude_deg, latitude_deg = (
            float(_typed(key, part, finite_number, allowed)) for part in match.groups()
        )
        if not -90 <= latitude_deg <= 90:
            raise ParsetError(f"{key} = {shown(text)}: a declination has to be from -90 to 90 degrees")
        return longitude_deg, latitude_deg
