"""Files and messages, read by other programs than ours."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy.io.votable.ucd import check_ucd
from lxml import etree

from darc.definitions import ARTS
from darc.formats import candidate as candidates
from darc.formats import voevent
from darc.formats.voevent import FRBEvent
from darc.simulation.filterbank_sky import FilterbankSky
from darc.simulation.filterbank_writer import FilterbankWriter, filterbank_file, filterbank_header
from darc.simulation.sky import Burst, Sky
from validation.readers import NotHereError, readers
from validation.result import Check, Section, Table

#: Names, UCDs and units of the FRB VOEvent standard (Petroff et al. 2017, arXiv:1710.08155) that CHIME/FRB's
#: public detections use, too.
STANDARD = {
    "sampling_time": ("time.resolution", "ms"),
    "bandwidth": ("instr.bandwidth", "MHz"),
    "centre_frequency": ("em.freq;instr", "MHz"),
    "npol": ("", None),
    "bits_per_sample": ("", None),
    "tsys": ("phot.antennaTemp", "K"),
    "backend": ("", None),
    "dm": ("phys.dispMeasure", "pc/cm^3"),
    "dm_error": ("stat.error;phys.dispMeasure", "pc/cm^3"),
    "snr": ("stat.snr", None),
}
GROUPS = ["observatory parameters", "event parameters", "advanced parameters"]
#: A small instrument, so that files are small; both kinds of reader know nothing of it.
SMALL = replace(ARTS, nchan=96, ntab=2, nsynthesised_beam=3, nsubband=16, samples_per_batch=2000)
START_UNIX = 1558223472.64

EVENT = FRBEvent(
    institute="nl.astron",
    instrument="apertif",
    contact_name="Observers",
    contact_email="a@example.org",
    observatory="WSRT",
    created=datetime(2019, 5, 18, 23, 52, 1, tzinfo=UTC),
    test=True,
    arrival_time=datetime(2019, 5, 18, 23, 51, 23, 87545, tzinfo=UTC),
    ra_deg=83.633,
    dec_deg=22.0145,
    importance=0.1,
    importance_description="S/N",
    semi_major_arcmin=15.0,
    semi_minor_arcmin=15.0,
    rotation_angle_deg=-16.1,
    sampling_time_ms=0.08192,
    bandwidth_mhz=300.0,
    nchan=1536,
    centre_freq_mhz=1369.6,
    npol=2,
    nbit=8,
    gain_k_per_jy=0.87,
    tsys_k=85.0,
    backend="ARTS",
    beam=4,
    dm=565.1,
    dm_error=0.8,
    width_ms=0.8192,
    snr=25.0,
    flux_jy=3.552,
    gl_deg=184.6,
    gb_deg=-5.8,
    mw_dm_limit=243.07,
    galactic_model="YMW16",
)

#: UCDs that begin with a word that UCD1+ has at second place only, as the standard has them.
OUT_OF_ORDER = {
    "beam_semi-major_axis": "instr.beam;pos.errorEllipse;phys.angSize.smajAxis",
    "beam_semi-minor_axis": "instr.beam;pos.errorEllipse;phys.angSize.sminAxis",
    "beam_rotation_angle": "instr.beam;pos.errorEllipse;instr.offset",
}


def measure(short: bool) -> Section:
    """Write files and messages, and have them read."""
    skipped: list[list[str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checks = [
            *voevent_checks(skipped),
            *candidate_checks(folder),
            *filterbank_checks(folder, skipped, short),
        ]
    tables = [Table("Left out here", ("reader", "reason"), skipped)] if skipped else []
    text = (
        "Documents and files as the services and the simulator write them. Names, UCDs and units of a "
        "VOEvent are compared with those that CHIME/FRB's public detections share with the standard; all "
        "UCDs with the list of words of the IVOA (UCD1+, in astropy). Three of the standard's, of the beam's "
        "axes and angle, begin with `instr.beam`, which that list has at second place only."
    )
    return Section("Formats", text, checks, tables)


def voevent_checks(skipped: list[list[str]]) -> list[Check]:
    """Read a VOEvent with the schema, voevent-parse and Comet."""
    document = voevent.build(EVENT)
    voevent.validate(document)
    root = etree.fromstring(document)
    params = {param.get("name"): param for param in root.findall("What/Group/Param")}
    groups = [group.get("name") for group in root.findall("What/Group")]
    wrong = [
        name
        for name, (ucd, unit) in STANDARD.items()
        if params[name].get("ucd") != ucd or (unit is not None and params[name].get("unit") != unit)
    ]
    checks = [
        Check("VOEvent against the schema of VOEvent 2.0", "errors of lxml", 0, 0),
        Check(
            "VOEvent: names, UCDs and units that differ",
            f"{len(STANDARD)} of the standard, as CHIME/FRB has them",
            len(wrong),
            0,
        ),
        Check(
            "VOEvent: groups that differ",
            "those of the standard",
            sum(a != b for a, b in zip(groups, GROUPS, strict=True)),
            0,
        ),
    ]
    checks += ucd_checks({str(name): param.get("ucd", "") for name, param in params.items()})
    for reader, read in (("voevent-parse", _by_voevent_parse), ("Comet", _by_comet)):
        try:
            checks.append(
                Check(f"VOEvent: values that {reader} reads otherwise", "what was written", read(document), 0)
            )
        except ImportError as error:
            skipped.append([reader, f"not installed for this Python: {error}"])
    return checks


def ucd_checks(ucds: dict[str, str]) -> list[Check]:
    """Compare UCDs with the words of UCD1+, and their order."""
    used = {name: ucd for name, ucd in ucds.items() if ucd}
    words = {word for ucd in used.values() for word in ucd.split(";")}
    # a word that is known may stand first, or after one that may
    unknown = [word for word in words if not (valid(word) or valid(f"stat.error;{word}"))]
    misplaced = [name for name, ucd in used.items() if not valid(ucd) and OUT_OF_ORDER.get(name) != ucd]
    return [
        Check("VOEvent: words of UCDs that are not in UCD1+", f"{len(words)} words", len(unknown), 0),
        Check(
            "VOEvent: UCDs that UCD1+ does not allow, beyond the standard's three",
            f"{len(used)} parameters",
            len(misplaced),
            0,
        ),
    ]


def valid(ucd: str) -> bool:
    """Return whether a UCD is one by its words and their order."""
    return bool(check_ucd(ucd, check_controlled_vocabulary=True))


def _by_voevent_parse(document: bytes) -> int:
    import voeventparse  # noqa: PLC0415

    event = voeventparse.loads(document)
    found = voeventparse.get_grouped_params(event)
    place = voeventparse.get_event_position(event)
    time = voeventparse.get_event_time_as_utc(event)
    same = [
        voeventparse.valid_as_v2_0(event),
        event.attrib["ivorn"] == EVENT.ivorn,
        float(found["event parameters"]["dm"]["value"]) == EVENT.dm,
        float(found["event parameters"]["flux"]["value"]) == EVENT.flux_jy,
        (place.ra, place.dec, place.err) == (EVENT.ra_deg, EVENT.dec_deg, EVENT.semi_major_arcmin / 60),
        time == EVENT.arrival_time,
    ]
    return same.count(False)


def _by_comet(document: bytes) -> int:
    from comet import utility  # noqa: PLC0415
    from comet.validator import CheckIVOID, CheckSchema  # noqa: PLC0415

    event = utility.xml_document(document)
    schema = next(Path(utility.__file__).parents[1].rglob("VOEvent-v2.0.xsd"))
    # as its validator does in a thread; both raise if they refuse the document
    CheckSchema(str(schema)).schema.assertValid(event.element)
    CheckIVOID()(event)
    same = utility.parse_ivoid(event.element.attrib["ivorn"])[0] == EVENT.institute
    return int(not same)


def candidate_checks(folder: Path) -> list[Check]:
    """Read a candidate with plain h5py, by the names of the documentation."""
    rng = np.random.default_rng(1)
    freq_time = rng.standard_normal((64, 64)).astype(np.float32)
    dm_time = rng.standard_normal((64, 64)).astype(np.float32)
    written = candidates.Candidate(
        data_freq_time=freq_time,
        data_dm_time=dm_time,
        dms=np.linspace(100.0, 120.0, 64),
        tsamp_s=81.92e-6,
        sb=35,
        dm=110.0,
        snr=12.5,
        toa_s=3.25,
        downsamp=10,
        dm_amber=110.2,
        snr_amber=11.5,
        toa_amber_s=3.2501,
        downsamp_amber=25,
        nsamp_bin=5,
    )
    path = candidates.write(folder / "data", written)
    expected: dict[str, Any] = {
        "nfreq": 64,
        "ntime": 64,
        "ndm": 64,
        "sb": 35,
        "dm": 110.0,
        "snr": 12.5,
        "toa": 3.25,
        "downsamp": 10,
        "dm_amber": 110.2,
        "snr_amber": 11.5,
        "toa_amber": 3.2501,
        "downsamp_amber": 25,
    }
    with h5py.File(path) as file:
        wrong = [key for key, value in expected.items() if not np.isclose(file.attrs[key], value)]
        arrays = max(
            np.abs(file["data_freq_time"][:] - freq_time).max(),
            np.abs(file["data_dm_time"][:] - dm_time).max(),
        )
    return [
        Check(
            "candidate: attributes that plain h5py reads otherwise",
            f"{len(expected)} as documented",
            len(wrong),
            0,
        ),
        Check("candidate: arrays", "what was written", float(arrays), 0.0),
    ]


def filterbank_checks(folder: Path, skipped: list[list[str]], short: bool) -> list[Check]:
    """Read files of the simulator with other programs."""
    sky = FilterbankSky(Sky(3 * SMALL.batch_s, (Burst(0.1, 20.0, 60.0, 5, 1),)), seed=1, instrument=SMALL)
    FilterbankWriter(folder, 0, sky, start_unix=START_UNIX, speed=float("inf")).run()
    path, first, number = filterbank_file(folder, 0, 0), 1234, 500
    data, header = sky.block(0, first, number), filterbank_header(SMALL, START_UNIX)
    expected = {
        "nchans": header.nchan,
        "tsamp": header.tsamp_s,
        "fch1": header.fch1_mhz,
        "foff": header.foff_mhz,
        "nsamples": sky.nbatch * SMALL.samples_per_batch,
        "tstart": header.tstart_mjd,
    }
    checks = []
    for reader, get in readers(short):
        try:
            version, read = get()
        except NotHereError as error:
            skipped.append([reader, str(error)])
            continue
        block, found = read(path, first, number)
        wrong = [key for key, value in expected.items() if not np.isclose(found[key], value, rtol=1e-12)]
        difference = np.abs(block.astype(int) - data).max() if block.shape == data.shape else np.inf
        checks += [
            Check(
                f"filterbank: samples as {reader} reads them",
                f"{number} samples of {header.nchan} channels; {reader} {version}",
                float(difference),
                0.0,
            ),
            Check(
                f"filterbank: header fields that {reader} reads otherwise",
                f"{len(expected)} fields; {reader} {version}",
                len(wrong),
                0,
            ),
        ]
    return checks
