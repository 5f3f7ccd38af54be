"""VOEvent 2.0 documents about a fast radio burst, after the FRB VOEvent standard (Petroff et al. 2017).

The standard, arXiv:1710.08155, defines the groups, the names of parameters, and their UCDs and units.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
import numbers
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from lxml import etree

from darc.errors import DARCError
from darc.formats.utc import UTCError, isot_text, mjd, parse_utc

#: How an event refers to an earlier one.
CitationKind = Literal["followup", "supersedes", "retraction"]

#: DM of the intergalactic medium per unit of redshift in pc cm^-3 (Ioka 2003, ApJ 598, L79; Inoue 2004, MNRAS
#: 348, 999), as the standard uses it.
DM_PER_REDSHIFT = 1200.0

_NAMESPACE = "http://www.ivoa.net/xml/VOEvent/v2.0"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_COORDINATES = "UTC-FK5-TOPO"
_ROLES = {True: "test", False: "observation"}
_DOCUMENT_MAX = 2**20

#: The parts of an IVORN that IVOA Identifiers 2.0 and brokers allow.
_INSTITUTE = re.compile(r"[A-Za-z0-9][\w.~-]{2,}", re.ASCII)
_INSTRUMENT = re.compile(r"\w[\w.~-]*(/\w[\w.~-]*)*", re.ASCII)
_IVORN = re.compile(r"ivo://([^/#]+)/([^#]+)#FRB\d{10}/[\d.]+", re.ASCII)


class VOEventError(DARCError):
    """A VOEvent cannot be built from these values, or a document is not one of ours."""


@dataclass(frozen=True)
class Citation:
    """Reference to an earlier event."""

    kind: CitationKind
    ivorn: str


def _param(name: str, ucd: str = "", unit: str = "None", limits: tuple[float, float] = (0, math.inf)) -> Any:
    """Describe a field that is a parameter of the standard; `limits` of a number are inclusive."""
    return field(metadata={"name": name, "ucd": ucd, "unit": unit, "limits": limits})


def _limited(low: float, high: float) -> Any:
    return field(metadata={"limits": (low, high)})


@dataclass(frozen=True, kw_only=True)
class FRBEvent:
    """Everything a document says about a burst.

    Attributes:
        institute: first part of the IVORN, such as `nl.astron`
        instrument: second part of the IVORN
        contact_name: whom to ask
        contact_email: at which address
        observatory: name of the observatory
        created: when the document was made (UTC)
        test: whether this is a test
        arrival_time: topocentric arrival time at the centre frequency (UTC)
        ra_deg: right ascension (J2000) in deg
        dec_deg: declination in deg
        importance: 0 to 1
        importance_description: by which criteria
        source_name: known source that this is thought to come from; empty if there is none
        citations: earlier events this one refers to
        semi_major_arcmin: semi-major axis of the beam, which is the uncertainty of the position, in arcmin
        semi_minor_arcmin: its semi-minor axis
        rotation_angle_deg: its position angle in deg
        sampling_time_ms: sampling time in ms
        bandwidth_mhz: width of the whole band in MHz
        nchan: number of channels
        centre_freq_mhz: centre of the band in MHz
        npol: number of polarisations
        nbit: bits per sample
        gain_k_per_jy: gain of the telescope in K/Jy
        tsys_k: system temperature in K
        backend: name of the instrument's back end
        beam: compound beam, None if it is not known
        dm: dispersion measure in pc cm^-3
        dm_error: its uncertainty
        width_ms: width of the pulse in ms
        snr: signal-to-noise ratio
        flux_jy: peak flux density in Jy
        gl_deg: Galactic longitude in deg
        gb_deg: Galactic latitude in deg
        mw_dm_limit: largest DM that the Galaxy causes in this direction in pc cm^-3
        galactic_model: model it comes from, such as YMW16

    Raises:
        VOEventError: a number is not finite or out of its range, a time is not in UTC, or a name does not fit
            an IVORN
    """

    institute: str
    instrument: str
    contact_name: str
    contact_email: str
    observatory: str
    created: datetime
    test: bool
    arrival_time: datetime
    ra_deg: float = _limited(0, 360)
    dec_deg: float = _limited(-90, 90)
    importance: float = _limited(0, 1)
    importance_description: str
    source_name: str = ""
    citations: tuple[Citation, ...] = ()

    semi_major_arcmin: float = _param(
        "beam_semi-major_axis", "instr.beam;pos.errorEllipse;phys.angSize.smajAxis", "MM"
    )
    semi_minor_arcmin: float = _param(
        "beam_semi-minor_axis", "instr.beam;pos.errorEllipse;phys.angSize.sminAxis", "MM"
    )
    rotation_angle_deg: float = _param(
        "beam_rotation_angle", "instr.beam;pos.errorEllipse;instr.offset", "Degrees", (-360, 360)
    )
    sampling_time_ms: float = _param("sampling_time", "time.resolution", "ms")
    bandwidth_mhz: float = _param("bandwidth", "instr.bandwidth", "MHz")
    nchan: int = _param("nchan", "meta.number;em.freq;em.bin")
    centre_freq_mhz: float = _param("centre_frequency", "em.freq;instr", "MHz")
    npol: int = _param("npol")
    nbit: int = _param("bits_per_sample")
    gain_k_per_jy: float = _param("gain", unit="K/Jy")
    tsys_k: float = _param("tsys", "phot.antennaTemp", "K")
    backend: str = _param("backend")
    beam: int | None = _param("beam")

    dm: float = _param("dm", "phys.dispMeasure", "pc/cm^3")
    dm_error: float = _param("dm_error", "stat.error;phys.dispMeasure", "pc/cm^3")
    width_ms: float = _param("width", "time.duration;src.var.pulse", "ms")
    snr: float = _param("snr", "stat.snr")
    flux_jy: float = _param("flux", "phot.flux", "Jy")
    gl_deg: float = _param("gl", "pos.galactic.lon", "Degrees", (0, 360))
    gb_deg: float = _param("gb", "pos.galactic.lat", "Degrees", (-90, 90))

    mw_dm_limit: float = _param("MW_dm_limit", unit="pc/cm^3")
    galactic_model: str = _param("galactic_electron_model")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, datetime):
                if value.utcoffset() != timedelta(0):
                    raise VOEventError(f"{item.name} {value} has to be in UTC")
            elif "limits" in item.metadata and value is not None and not isinstance(value, str):
                low, high = item.metadata["limits"]
                if not (math.isfinite(value) and low <= value <= high):
                    raise VOEventError(
                        f"{item.name} = {value}: allowed is a finite number from {low} to {high}"
                    )
        if not _INSTITUTE.fullmatch(self.institute) or not _INSTRUMENT.fullmatch(self.instrument):
            raise VOEventError(
                f"institute {self.institute!r}, instrument {self.instrument!r}: allowed are letters, digits "
                "and _ . ~ -, at least 3 of them for the institute, and / between parts of the instrument"
            )
        for citation in self.citations:
            if citation.kind not in get_args(CitationKind) or not citation.ivorn.startswith("ivo://"):
                raise VOEventError(
                    f"{citation}: allowed are {', '.join(get_args(CitationKind))} of an ivo://..."
                )

    @property
    def name(self) -> str:
        """Name of the burst, `FRBYYMMDD`."""
        return f"FRB{self.arrival_time:%y%m%d}"

    @property
    def ivorn(self) -> str:
        """Identifier of the document, unique as it holds the time of creation (MJD, to 10 us)."""
        local = f"FRB{self.arrival_time:%y%m%d%H%M}/{mjd(self.created):.10f}"
        return f"ivo://{self.institute}/{self.instrument}#{local}"

    @property
    def redshift(self) -> float:
        """Redshift if all the DM beyond the Galaxy's were due to the intergalactic medium."""
        return max(self.dm - self.mw_dm_limit, 0.0) / DM_PER_REDSHIFT


_PARAMS = {item.metadata["name"]: item for item in fields(FRBEvent) if "name" in item.metadata}
_NAMES = list(_PARAMS)
_GROUPS = {
    "observatory parameters": _NAMES[: _NAMES.index("dm")],
    "event parameters": _NAMES[_NAMES.index("dm") : _NAMES.index("MW_dm_limit")],
    "advanced parameters": _NAMES[_NAMES.index("MW_dm_limit") :],
}
_DESCRIPTIONS = {
    "flux": "Peak flux density from the radiometer equation, not calibrated",
    "dm_error": "0 for a source whose DM is known",
    "MW_dm_limit": "Largest DM that the Galaxy causes in this direction",
    "redshift_inferred": f"z = (dm - MW_dm_limit) / {DM_PER_REDSHIFT:g}, 0 at least (Ioka 2003)",
}


def build(event: FRBEvent) -> bytes:
    """Return the document.

    Raises:
        VOEventError: a text holds characters that XML does not allow
    """
    root = etree.Element(f"{{{_NAMESPACE}}}VOEvent", nsmap={"voe": _NAMESPACE, "xsi": _XSI})
    root.set(f"{{{_XSI}}}schemaLocation", f"{_NAMESPACE} http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd")
    try:
        for name, value in (("version", "2.0"), ("role", _ROLES[event.test]), ("ivorn", event.ivorn)):
            root.set(name, value)
        _add_who(root, event)
        _add_what(root, event)
        _add_where_when(root, event)
        _add(_add(root, "How"), "Description", f"Arrival time at {event.centre_freq_mhz} MHz, topocentric")
        _add_why(root, event)
        if event.citations:
            citations = _add(root, "Citations")
            for citation in event.citations:
                _add(citations, "EventIVORN", citation.ivorn, cite=citation.kind)
    except ValueError as error:
        raise VOEventError(f"a text of the event cannot be written as XML: {error}") from error
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _add(parent: etree._Element, tag: str, text: str | None = None, **attributes: str) -> etree._Element:
    element = etree.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _add_who(root: etree._Element, event: FRBEvent) -> None:
    who = _add(root, "Who")
    _add(who, "AuthorIVORN", f"ivo://{event.institute}/contact")
    _add(who, "Date", isot_text(event.created))
    author = _add(who, "Author")
    _add(author, "contactName", event.contact_name)
    _add(author, "contactEmail", event.contact_email)


def _add_what(root: etree._Element, event: FRBEvent) -> None:
    what = _add(root, "What")
    for group_name, names in _GROUPS.items():
        group = _add(what, "Group", name=group_name)
        for name in names:
            item = _PARAMS[name]
            _add_param(group, name, getattr(event, item.name), item.metadata["ucd"], item.metadata["unit"])
    _add_param(group, "redshift_inferred", event.redshift, "src.redshift", "None")


def _add_param(group: etree._Element, name: str, value: Any, ucd: str, unit: str) -> None:
    if value is None or isinstance(value, str):
        text, kind = value or "", "string"
    elif isinstance(value, numbers.Integral):
        text, kind = str(int(value)), "int"
    else:
        text, kind = repr(float(value)), "float"
    param = _add(group, "Param", name=name, value=text, dataType=kind, ucd=ucd, unit=unit)
    if name in _DESCRIPTIONS:
        _add(param, "Description", _DESCRIPTIONS[name])


def _add_where_when(root: etree._Element, event: FRBEvent) -> None:
    location = _add(_add(root, "WhereWhen"), "ObsDataLocation")
    _add(location, "ObservatoryLocation", id=event.observatory)
    observation = _add(location, "ObservationLocation")
    _add(observation, "AstroCoordSystem", id=_COORDINATES)
    coordinates = _add(observation, "AstroCoords", coord_system_id=_COORDINATES)
    instant = _add(_add(coordinates, "Time", unit="s"), "TimeInstant")
    _add(instant, "ISOTime", isot_text(event.arrival_time))
    position = _add(coordinates, "Position2D", unit="deg")
    _add(position, "Name1", "RA")
    _add(position, "Name2", "Dec")
    value = _add(position, "Value2")
    _add(value, "C1", repr(float(event.ra_deg)))
    _add(value, "C2", repr(float(event.dec_deg)))
    _add(position, "Error2Radius", repr(event.semi_major_arcmin / 60))


def _add_why(root: etree._Element, event: FRBEvent) -> None:
    why = _add(root, "Why", importance=repr(float(event.importance)))
    _add(why, "Name", event.name)
    _add(why, "Description", event.importance_description)
    if event.source_name:
        _add(_add(why, "Inference", relation="associated"), "Name", event.source_name)


def validate(document: bytes) -> None:
    """Check a document against the schema of VOEvent 2.0.

    Raises:
        VOEventError: not XML, too large, with a document type or entities, or not valid
    """
    _valid_root(document)


def _valid_root(document: bytes) -> etree._Element:
    if len(document) > _DOCUMENT_MAX:
        raise VOEventError(f"a VOEvent of {len(document)} bytes is too large: at most {_DOCUMENT_MAX}")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(document, parser)
        if root.getroottree().docinfo.internalDTD is not None:
            raise VOEventError("a VOEvent must not have a document type or entities")
        _schema().assertValid(root)
    except (etree.XMLSyntaxError, etree.DocumentInvalid) as error:
        raise VOEventError(f"not a valid VOEvent 2.0: {error}") from error
    return root


@functools.cache
def _schema() -> etree.XMLSchema:
    text = importlib.resources.files("darc.formats").joinpath("schema", "VOEvent-v2.0.xsd").read_bytes()
    return etree.XMLSchema(etree.fromstring(text))


def parse(document: bytes) -> FRBEvent:
    """Return the event of a document that `build` made.

    Raises:
        VOEventError: not a valid VOEvent, or not one of this form
    """
    root = _valid_root(document)
    try:
        event = FRBEvent(**dict(_values(root)))
    except (UTCError, ValueError) as error:
        raise VOEventError(f"a value of the VOEvent cannot be read: {error}") from error
    if event.ivorn != root.get("ivorn"):
        raise VOEventError(f"ivorn {root.get('ivorn')} does not fit the event: {event.ivorn} would")
    return event


def _values(root: etree._Element) -> Iterator[tuple[str, Any]]:
    """Yield name and value of every field of FRBEvent."""
    ivorn = _IVORN.fullmatch(root.get("ivorn", ""))
    if not ivorn or root.get("role") not in _ROLES.values():
        raise VOEventError(f"{root.get('role')} {root.get('ivorn')} is not a VOEvent that darc makes")
    yield "institute", ivorn[1]
    yield "instrument", ivorn[2]
    yield "test", root.get("role") == _ROLES[True]
    yield "created", parse_utc(_text(root, "Who/Date"))
    yield "contact_name", _text(root, "Who/Author/contactName")
    yield "contact_email", _text(root, "Who/Author/contactEmail")
    yield "observatory", _element(root, ".//ObservatoryLocation").get("id", "")
    yield "arrival_time", parse_utc(_text(root, ".//ISOTime"))
    yield "ra_deg", float(_text(root, ".//C1"))
    yield "dec_deg", float(_text(root, ".//C2"))
    yield "importance", float(_element(root, "Why").get("importance", "nan"))
    yield "importance_description", _text(root, "Why/Description")
    yield "source_name", root.findtext("Why/Inference/Name") or ""
    cited = root.iterfind("Citations/EventIVORN")
    yield "citations", tuple(Citation(element.get("cite"), element.text or "") for element in cited)  # type: ignore[arg-type]
    for name, item in _PARAMS.items():
        value = _element(root, f"What/Group/Param[@name='{name}']").get("value", "")
        yield item.name, _READERS[str(item.type)](value)


#: How to read a parameter, by the type of its field.
_READERS: dict[str, Callable[[str], Any]] = {
    "float": float,
    "int": int,
    "str": str,
    "int | None": lambda text: int(text) if text else None,
}


def _element(root: etree._Element, path: str) -> etree._Element:
    element = root.find(path)
    if element is None:
        raise VOEventError(f"the VOEvent has no {path}")
    return element


def _text(root: etree._Element, path: str) -> str:
    return _element(root, path).text or ""
