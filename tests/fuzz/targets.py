"""Every parser of bytes that others wrote, with what to feed it: valid documents, damaged in many ways.

A target may return or raise a `DARCError`. Everything else is a defect: another exception, an input that
takes long, a file that is opened outside the target's folder, a message to the user that is not bounded.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from hypothesis import strategies as st

from darc.errors import DARCError
from darc.formats import (
    amber,
    candidate,
    dada_event,
    filterbank,
    known_frbs,
    lofar_packet,
    merged,
    node_details,
    offline_results,
    overview,
    parset,
    results,
    sb_table,
    source_list,
    trigger,
    utc,
    voevent,
    yaml_text,
)
from darc.network import command_protocol, mail_folder, plain_data, vtp
from darc.web import index

Strategy = st.SearchStrategy[list[bytes]]
#: What a parser is called with: the input, and a folder of its own where it may read and write.
Parser = Callable[[bytes, Path], object]


@dataclass(frozen=True)
class Target:
    """A parser, valid inputs to start from, and pieces that mean something to it."""

    parse: Parser
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...] = ()

    @property
    def inputs(self) -> Strategy:
        """Some inputs at a time: damaged valid ones, valid ones and noise."""
        return damaged(self.seeds, self.tokens)


TARGETS: dict[str, Target] = {}


# --- inputs ------------------------------------------------------------------------------------------------

#: Pieces that mean something to some parser of text or of numbers.
_TOKENS = (
    *(b"", b"\0", b"\n", b"\r\n", b" ", b"=", b":", b",", b"#", b"{", b"}", b"[", b"]", b"'", b'"', b"\\"),
    *(
        b"..",
        b"../../etc/passwd",
        b"/dev/zero",
        b"-1",
        b"0",
        b"1e400",
        b"-inf",
        b"nan",
        b"1_0",
        b"0x",
        b"9" * 30,
    ),
    *(b"9" * 5000, b"[" * 300, b"{'a':" * 300, b"\xff\xfe", b"\xed\xa0\x80", "\u0663\u2028\x85".encode()),
    *(
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\0\0\0\x80",
        b"\0\0\0\0\0\0\xf0\x7f",
        b"\0\0\0\0\0\0\xf8\xff",
    ),
)
#: Bytes that plan one edit: kind, place (2), length, choice (2).
_PLAN = struct.Struct(">BHBH")
#: Bytes that plan an input of at most six edits, and inputs that are drawn together.
_INPUT = 2 + 6 * _PLAN.size + 8
TOGETHER = 8
_KINDS = ("replace", "replace", "insert", "cut", "repeat", "flip")


def damaged(seeds: tuple[bytes, ...], tokens: tuple[bytes, ...]) -> Strategy:
    """Return valid inputs with up to six edits each, valid ones, and now and then noise.

    They are planned by drawn bytes: to draw each number of an edit takes Hypothesis longer than a parser.
    """
    pieces = (*tokens, *tokens, *_TOKENS)

    def make(plan: bytes) -> bytes:
        if plan[0] < 16:
            return plan[1:]
        edits = _PLAN.iter_unpack(plan[2 : 2 + _PLAN.size * (plan[1] % 7)])
        return edit(seeds[plan[0] % len(seeds)], edits, (*pieces, plan[-8:]))

    size = TOGETHER * _INPUT
    return st.binary(min_size=size, max_size=size).map(
        lambda plans: [make(plans[start : start + _INPUT]) for start in range(0, size, _INPUT)]
    )


def edit(data: bytes, edits: Iterable[tuple[int, ...]], pieces: tuple[bytes, ...]) -> bytes:
    """Return data after some edits, each of them a kind, a place, a length and a number that chooses."""
    for kind, place, length, choice in edits:
        start = place % (len(data) + 1)
        size = length % 24
        head, part, tail = data[:start], data[start : start + size], data[start + size :]
        match _KINDS[kind % len(_KINDS)]:
            case "replace":
                part = pieces[choice % len(pieces)]
            case "insert":
                part = pieces[choice % len(pieces)] + part
            case "cut":
                part, tail = b"", tail if choice % 4 else b""
            case "repeat":
                part *= 2 + choice % 40
            case "flip" if part:
                part = bytes([part[0] ^ (1 << choice % 8)]) + part[1:]
        data = head + part + tail
    return data


def text(data: bytes) -> str:
    """Return what a reader of files makes of bytes, any of which it then takes."""
    return data.decode("utf-8", "replace")


def target(*seeds: bytes | str, tokens: tuple[bytes, ...] = ()) -> Callable[[Parser], Parser]:
    """Register a parser under the name of its function."""
    start = tuple(seed if isinstance(seed, bytes) else seed.encode() for seed in seeds)

    def register(parse: Parser) -> Parser:
        TARGETS[parse.__name__] = Target(parse, start, tokens)
        return parse

    return register


# --- the command port and what the master node is sent -----------------------------------------------------

_REQUEST = command_protocol.Request(command="start_observation", service="all", payload="/data/a.parset")


@target(
    command_protocol.encode_request(_REQUEST, newline=True),
    b"{'service': 'all', 'command': 'status', 'payload': 'None'}",
    b"{'command': 'get_attr a'}\n{'command': 'status'}\n\n",
    tokens=(
        b"None",
        b"null",
        b"True",
        b"command",
        b"-" * 500,
        b"(" * 300,
        b"lambda:",
        b"f'{1}'",
        b"9**9**9",
        b"b''",
    ),
)
def command_requests(data: bytes, _folder: Path) -> None:
    buffer = command_protocol.RequestBuffer(max_bytes=16384)
    for start in range(0, len(data), 100):
        buffer.feed(data[start : start + 100])
        _ = buffer.complete
        while line := buffer.take_line():
            try:
                command_protocol.parse_request(line)
            except DARCError as error:
                bounded(error)
    command_protocol.parse_request(buffer.take_rest())


_DETAILS = node_details.NodeDetails(
    node="arts003",
    role="worker",
    beam=2,
    version="1.2.3",
    time=1763812800.5,
    services={"processor": node_details.ServiceDetails("running", 1763800001.5, 2, 4711, 0)},
    observations=(
        node_details.ObservationDetails("261122001", "2026-11-22-12:00:00.R2", "R2", "running", 1.0, 2.0),
    ),
    delay_s=1.75,
    last_triggers={"iquv": node_details.LastTrigger(1763812700.0, "sent")},
    sending={"lofar_trigger": "disabled"},
    disks={"results": node_details.Disk("/data", 5, 10)},
    figures={"darc_lines": 17.0},
)


@target(
    command_protocol.encode_reply("Success", _DETAILS.as_message()),
    command_protocol.encode_reply("Success", {"path": "/log", "lines": ["a", "b"]}),
    command_protocol.encode_reply("Warning", {"processor": "running", "observations": {}}),
    tokens=(b"None", b"null", b"true", b"Infinity", b"NaN", b"1e309", b"[]", b"{}", b'"services"'),
)
def command_replies(data: bytes, _folder: Path) -> None:
    message = command_protocol.parse_reply(data).message
    for read in (
        lambda: node_details.read_node_details("a", message),
        lambda: node_details.read_log(message),
    ):
        try:
            read()
        except DARCError as error:
            bounded(error)


_TRIGGER = {
    "dm": 348.8, "dm_err": 1.0, "width": 4.0, "snr": 12.5, "flux": 1.5, "ra": 29.5, "dec": 65.7,
    "cb": 3, "sb": 35, "ymw16": 200.0, "semiMaj": 15.0, "semiMin": 15.0, "name": "a", "src_name": "b",
    "importance": 0.1, "test": True, "utc": "2026-11-22T12:00:00.123", "datetimesource": "a",
    "tarr": 12.5,
    "extra": [None, {"a": (1, 2.5, b"c")}],
}  # fmt: skip


@target(
    *(pickle.dumps(("queue", "put", (_TRIGGER,), {}), protocol) for protocol in (3, 4, 5)),
    pickle.dumps({"snr": np.float32(12.5), "beam": np.int64(3)}),
    tokens=(
        b"cos\nsystem\n",
        b"R",
        b".",
        b"(",
        b"\x94",
        b"h\0",
        b"h\0h\0\x86\x94" * 20,
        b"e",
        b"u",
        b"s",
        b"\x93",
        b"b",
    ),
)
def queue_items(data: bytes, _folder: Path) -> None:
    item = plain_data.loads(data)
    if isinstance(item, tuple) and len(item) == 4 and isinstance(item[2], tuple) and item[2]:
        item = item[2][0]
    trigger.check_item(item, ("dm", "snr", "utc"))
    trigger.DumpTrigger.from_item(item)


# --- observations ------------------------------------------------------------------------------------------

_TASK = """# parset of the observation
task.taskID = 190518009
task.startTime = '2019-05-18 23:51:13'
task.stopTime = 2019-05-18T23:56:12
task.duration = 299
task.source.name = B1933+16
task.source.beam = 0
task.telescopes = [RT2, RT3]
task.directionReferenceFrame = "J2000"
task.beamSet.0.compoundBeam.0.phaseCenter = [293.948755deg, 16.277785deg]
"""
_OBSERVATION = f"""startpacket = 1217362088000000
duration = 10.24
beam = 3   # the beam
beams = [0, 1]
proctrigger = True
min_freq=1219.70092773
datetimesource = 2019-05-18-23:51:13.B1933+16
date = 20190518
amber_config = "/a/amber #1.conf"
utc_start = 2019-05-18-23:51:13
parset = {parset.encode_parset(_TASK)}
"""


def use_observation(content: dict[str, Any]) -> None:
    """Read from an observation's configuration all that is ever read from it."""
    readers: tuple[Callable[[dict[str, Any]], object], ...] = (
        parset.utc_start, parset.start_time_unix, parset.freq_mhz, parset.task_id, task_values,
    )  # fmt: skip
    for reader in readers:
        try:
            reader({key: value for key, value in content.items() if key != "master_dir"})
        except DARCError as error:
            bounded(error)


def task_values(content: dict[str, Any]) -> None:
    task = parset.Task.from_parset(parset.observation_parset(content))
    names = (
        "task_id", "start_time", "stop_time", "duration_s", "source_name", "source_beam", "telescopes",
        "reference_frame",
    )  # fmt: skip
    for name in names:
        try:
            getattr(task, name)
        except DARCError as error:
            bounded(error)
    task.phase_centre_deg(0)


@target(_OBSERVATION, _TASK, tokens=(b" = ", b"task.taskID", b"\ndatetimesource = ../../x\n", b"deg, ", b"T"))
def parsets(data: bytes, folder: Path) -> None:
    path = folder / "a.parset"
    path.write_bytes(data)
    use_observation(parset.load_obs_config(path))


@target(
    parset.encode_parset(_TASK),
    parset.encode_parset("a = " + "b" * 5000),
    tokens=(b"425a68", b"ff" * 40, b"0"),
)
def encoded_parsets(data: bytes, _folder: Path) -> None:
    use_observation({"parset": text(data), "startpacket": 1217362088000000})
    parset.parse_parset(parset.decode_parset(text(data)))


_YAML_TOKENS = (
    *(
        b"&a ",
        b"*a",
        b"<<: *a\n",
        b"? ",
        b"- ",
        b"!!bool ",
        b"!!int ",
        b"!!float ",
        b"!!timestamp ",
        b"!!set ",
        b"!!map ",
    ),
    *(
        b"!!binary ",
        b"!!omap ",
        b"!!python/object/apply:os.system ",
        b"--- ",
        b"...",
        b"|\n",
        b">-\n",
        b"%YAML 9.9\n",
        b"\t",
    ),
    *(
        b"2026-02-30",
        b"12:30:61",
        b"0o7",
        b".nan",
        b"~",
        b"? *a\n: 1\n",
        b"&b [*a,*a,*a,*a,*a,*a,*a,*a,*a]",
        b"*b",
    ),
)
_YAML = (
    "a: &a [x, y]\nb: &b {c: *a, d: [*a, *a]}\nd: {<<: *b, e: 2019-05-18}\nf: 'text # no comment'\ng: 1.5\n"
)


@target(
    _YAML,
    yaml.safe_dump(parset.parse_parset(_OBSERVATION)),
    tokens=_YAML_TOKENS,
)
def yaml_observations(data: bytes, folder: Path) -> None:
    path = folder / "a.yaml"
    path.write_bytes(data)
    content = yaml_text.parse_yaml(text(data))
    yaml_text.line_of(text(data), tuple(str(key) for key in content)[:1])
    use_observation(parset.load_obs_config(path))


@target(
    "FRB20180916B: {ra: 29.5031, dec: 65.7168, dm: 348.8}\nR67: {ra: 1, dec: -2.5, dm: 411}\n",
    "pulsars:\n  B1933+16: 158.521\nfrbs:\n  121102: 557.0\naliases:\n  PSRB1933: B1933+16\n  R1: 0\n",
    tokens=_YAML_TOKENS,
)
def yaml_sources(data: bytes, folder: Path) -> None:
    path = folder / "a.yaml"
    path.write_bytes(data)
    try:
        source_list.load_source_list(path).lookup("R1")
    except DARCError as error:
        bounded(error)
    known_frbs.load_known_frbs(path)


@target(
    "2019-05-18-23:51:13",
    "2019-05-18T23:51:13.123456",
    "2019-05-18 23:51:13Z",
    tokens=(b"-", b"T", b"24", b"60"),
)
def times(data: bytes, _folder: Path) -> None:
    moment = utc.parse_utc(text(data))
    assert utc.parse_utc(utc.isot_text(moment)) == moment


# --- AMBER, the ring buffer and LOFAR ----------------------------------------------------------------------

_ROWS = (
    amber.header() + "\n" + "35 12 1250 1 4 12.3456 17 348.8 3 12.5\n" * 3 + "70 13 1 100 1 1e3 0 0 1 1e+02\n"
)
_PLAIN_ROWS = "# " + amber.PLAIN_COLUMNS + "\n" + "35 12 1250 5 12.3456 17 348.8 12.5\n" * 40


@target(
    _ROWS, _PLAIN_ROWS, _ROWS * 20, tokens=(b"\n#", b" ", b"1e9", b"-", b"4294967296", b"# beam_id SNR\n")
)
def amber_rows(data: bytes, _folder: Path) -> None:
    rows = amber.AmberParser().feed(data)
    assert len(rows.batch) == len(rows.triggers) and rows.malformed <= data.count(b"\n") + 1
    assert np.isfinite(rows.triggers).all() and (rows.triggers >= 0).all()
    assert len(rows.first_malformed) < 500


@target(
    dada_event.build_message(
        "2019-05-18-23:51:13", [dada_event.DadaEvent(2.5, 5.0, 348.8, 12.5, 4.0, 3)] * 2
    ),
    tokens=(b"N_EVENTS 2", b"2019-05-18-23:51:1", b"999", b"0"),
)
def dada_events(data: bytes, _folder: Path) -> None:
    start, events = dada_event.parse_message(data)
    dada_event.build_message(start, events)


@target(lofar_packet.pack(1558223473000, 348.8, True), lofar_packet.pack(1558223473001, 0.0, False))
def lofar_packets(data: bytes, _folder: Path) -> None:
    str(lofar_packet.unpack(data))


_XML_TOKENS = (
    *(
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>",
        b"<!ENTITY a SYSTEM 'file:///etc/passwd'>",
        b"&a;",
        b"&lt;",
        b"&#0;",
    ),
    *(
        b"<!DOCTYPE a [<!ENTITY b 'bbbbbbbbbb'><!ENTITY c '&b;&b;&b;&b;&b;'>]>",
        b"&c;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
    ),
    *(
        b"<?xml-stylesheet href='file:///etc/passwd'?>",
        b"<xi:include href='/etc/passwd' parse='text'/>",
        b"</",
        b"/>",
    ),
    *(b"encoding='utf-7'", b"encoding='utf-16'", b"xmlns:a='b'", b" a='b'", b"<a>" * 300),
)
_EVENT = voevent.FRBEvent(
    institute="nl.astron", instrument="alert", contact_name="", contact_email="", observatory="WSRT",
    created=datetime(2019, 1, 2, 3, 4, 7, tzinfo=UTC), arrival_time=datetime(2019, 1, 2, 3, 4, 5, tzinfo=UTC),
    test=True, ra_deg=83.6, dec_deg=22.0, importance=0.1, importance_description="", semi_major_arcmin=15.0,
    semi_minor_arcmin=14.0, rotation_angle_deg=0.0, sampling_time_ms=0.08192, bandwidth_mhz=300.0, nchan=1536,
    centre_freq_mhz=1369.6, npol=2, nbit=8, gain_k_per_jy=1.2, tsys_k=85.0, backend="ARTS", beam=17, dm=56.8,
    dm_error=1.0, width_ms=1.5, snr=18.5, flux_jy=2.5, gl_deg=184.6, gb_deg=-5.8, mw_dm_limit=243.0,
    galactic_model="YMW16",
)  # fmt: skip


@target(
    voevent.build(_EVENT),
    voevent.build(
        replace(_EVENT, citations=(voevent.Citation("followup", "ivo://a/b#c"),), source_name="FRB1")
    ),
    tokens=_XML_TOKENS,
)
def voevents(data: bytes, _folder: Path) -> None:
    voevent.parse(data)


_RECEIPT = (
    b"<?xml version='1.0'?><trn:Transport role='ack' version='1.0' xmlns:trn='http://www.telescope-networks.org/"
    b"xml/Transport/v1.1'><Origin>ivo://a/b#c</Origin><Response>ivo://d</Response><Meta><Result>no</Result></Meta>"
    b"</trn:Transport>"
)


@target(_RECEIPT, tokens=(*_XML_TOKENS, b"nak"))
def broker_receipts(data: bytes, _folder: Path) -> None:
    receipt = vtp.parse_receipt(data)
    assert len(receipt.reason) <= 1000


# --- data and results --------------------------------------------------------------------------------------

_HEADER = filterbank.FilterbankHeader(
    nchan=1536, nbit=8, fch1_mhz=1519.5, foff_mhz=-0.1953125, tsamp_s=81.92e-6, tstart_mjd=58621.99,
    source_name="B1933+16", extra={"rawdatafile": "/data/a.fil", "npuls": 2**40},
)  # fmt: skip


@target(
    filterbank.build_header(_HEADER),
    tokens=(b"\x0c\0\0\0HEADER_START", b"\x0a\0\0\0HEADER_END", b"\x06\0\0\0nchans"),
)
def filterbank_headers(data: bytes, _folder: Path) -> None:
    header = filterbank.parse_header(data)
    header.nsample(1 << 40)
    assert np.isfinite(header.freqs_mhz).all()
    filterbank.build_header(header)


@target("0 1 2\n1 2 3\n# comment\n", tokens=(b"12", b"\t", b"#"))
def tables(data: bytes, _folder: Path) -> None:
    sb_table.parse_sb_table(text(data), nsb=2, nsubband=3, ntab=12)


_RESULT_TRIGGER = results.Trigger(snr=10.0, dm=20.0, time_s=30.0, downsamp=50, sb=35, cb=0, probability=1.0)


@target(
    results.build_summary(results.Summary(5000, 40, 12, 3)),
    results.build_triggers([_RESULT_TRIGGER] * 3),
    results.PULSES_HEADER + "\n" + results.pulse_row(_RESULT_TRIGGER) + "\n",
    offline_results.build_summary(offline_results.OfflineSummary(ncand_raw=1, problems=("a",))),
    tokens=(*_YAML_TOKENS[:8], b"\n", b"."),
)
def result_files(data: bytes, _folder: Path) -> None:
    content = text(data)
    for parse in (
        results.parse_summary, results.parse_triggers, results.parse_pulses,
        offline_results.parse_summary, offline_results.parse_triggers,
    ):  # fmt: skip
        try:
            parse(content)
        except DARCError as error:
            bounded(error)


_INFO = overview.ObservationInfo(
    task_id="190518009", datetimesource="2019-05-18-23:51:13.B1933+16", source="B1933+16",
    start=datetime(2019, 5, 18, 23, 51, 12, 640_000, tzinfo=UTC), duration_s=299.008,
    telescopes=("RT2", "RT3"), frame="J2000", dm_galactic=415.5, centre_mhz=1369.6, bandwidth_mhz=300.0,
)  # fmt: skip
_ENTRY = index.Entry(
    folders=("a", "b"), datetimesource="2019-05-18-23:51:13.B1933+16", source="B1933+16", start=1558223473.0,
    duration_s=299.0, beams=40, done=38, waiting=0, candidates=3, probability=0.9, snr=12.5, dm=None,
)  # fmt: skip


@target(
    overview.build_info(_INFO),
    overview.COORDINATES_HEADER + "\n00 29.503100 65.716800 130.1 3.2\n",
    index.build_entry(_ENTRY),
    tokens=(*_YAML_TOKENS, b"{", b"null"),
)
def overview_files(data: bytes, _folder: Path) -> None:
    content = text(data)
    for parse in (
        overview.parse_info,
        overview.parse_coordinates,
        lambda entry: index.parse_entry(entry, ("20190518", "a")),
    ):
        try:
            parse(content)
        except DARCError as error:
            bounded(error)


_CANDIDATE = candidate.Candidate(
    data_freq_time=np.ones((4, 8), np.float32), data_dm_time=np.zeros((3, 8), np.float32), dms=np.arange(3.0),
    tsamp_s=1e-3, sb=35, dm=56.8, snr=18.5, toa_s=123.5, downsamp=25, dm_amber=56.8, snr_amber=17.0,
    toa_amber_s=123.5, downsamp_amber=50, nsamp_bin=10,
)  # fmt: skip


def other_candidates() -> Iterator[bytes]:
    """Yield candidates as another program may write them: old layout without checksums, and packed."""
    for libver, packed in (("earliest", None), ("latest", "gzip")):
        with h5py.File.in_memory(libver=libver) as file:
            for name, shape in (("data_freq_time", (4, 8)), ("data_dm_time", (3, 8))):
                file.create_dataset(name, shape, "<f4", compression=packed, data=np.ones(shape))
            for name in ("tsamp", "sb", "dm", "snr", "toa", "downsamp", "dm_amber", "snr_amber", "toa_amber"):
                file.attrs[name] = 1
            file.attrs.update({"downsamp_amber": 2.0, "dms": np.arange(3.0), "note": "text"})
            file.flush()
            yield bytes(file.id.get_file_image())


@target(
    candidate.build(_CANDIDATE), *other_candidates(), tokens=(b"TREE", b"SNOD", b"HEAP", b"OHDR", b"\x89HDF")
)
def hdf5_candidates(data: bytes, folder: Path) -> None:
    try:
        candidate.parse(data)
    except DARCError as error:
        bounded(error)
    path = folder / "a.hdf5"
    path.write_bytes(data)
    candidate.store_probabilities(path, lambda *_: (0.5, 0.5))


def merged_file() -> bytes:
    with h5py.File.in_memory() as file:
        for name, shape in (
            ("data_freq_time", (2, 4, 8)),
            ("data_dm_time", (2, 3, 8)),
            ("params", (2, 5)),
            ("sb", (2,)),
        ):
            file.create_dataset(name, data=np.ones(shape, "<f4"))
        file.flush()
        return bytes(file.id.get_file_image())


@target(merged_file(), tokens=(b"TREE", b"SNOD", b"HEAP"))
def merged_candidates(data: bytes, folder: Path) -> None:
    path = folder / "a.hdf5"
    path.write_bytes(data)
    for _ in merged.read_blocks(path):
        pass


@target(
    mail_folder.SpooledMail("subject", ("a@example.org",), b"To: a\r\n\r\ntext", b"small").to_bytes(),
    tokens=(b"null", b"[]", b"-5", b"1e9"),
)
def spooled_mails(data: bytes, _folder: Path) -> None:
    mail_folder.SpooledMail.from_bytes(data)


# --- what holds for all ------------------------------------------------------------------------------------


def bounded(error: DARCError) -> None:
    """Check that a message to the user can be shown and logged."""
    assert len(str(error).encode()) < 20_000, f"a message of {len(str(error))} characters"


def check(name: str, data: bytes, folder: Path) -> None:
    """Feed a target; raise whatever is not as it has to be."""
    try:
        TARGETS[name].parse(data, folder)
    except DARCError as error:
        bounded(error)
