"""What the scheduler hands over for an observation: parsets, AMBER's settings, the list of sources."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import yaml

from darc.definitions import ARTS, Instrument
from darc.formats.parset import check_path_component, encode_parset
from darc.formats.utc import EPOCH, header_text, mjd

#: Compound beams lie on a grid, the rows shifted against each other by about half a beam: spacing in degrees
#: along RA and Dec, and for each row, south to north, its first place and its number of beams. Beam 0 is
#: apart, in the centre.
_GRID_DEG = (0.468, 0.405)
_GRID_ROWS = ((-3.25, 7), (-2.75, 7), (-2.25, 6), (-2.75, 6), (-2.25, 6), (-2.75, 7))


@dataclass(frozen=True)
class ObservationFiles:
    """Where the files of an observation are.

    Attributes:
        master: parset of the master node.
        workers: parset of each worker node, by compound beam.
        amber_dirs: folder for AMBER's output on each worker node, by compound beam.
        amber_config: AMBER's settings.
        source_list: known sources.

    """

    master: Path
    workers: dict[int, Path]
    amber_dirs: dict[int, Path]
    amber_config: Path
    source_list: Path


@dataclass(frozen=True)
class Observation:
    """One observation with all its nodes on this machine.

    Attributes:
        source: name of the source; becomes part of folder names.
        start: of the beamformer's data, UTC; fractions of a second are kept in `startpacket`.
        duration_s: length of the data; cut to whole batches, as recorded.
        beams: compound beams that are recorded, each by a worker node.
        source_beam: compound beam in which the source is put.
        direction_deg: RA or hour angle, and Dec of the source in degrees.
        frame: of the direction, `J2000` or `HADEC`.
        number: of the observation within its day, for the task ID.
        process_triggers: whether anything is to happen at all (`proctrigger`).
        snr_min: AMBER's threshold.
        ninstance: instances of AMBER per node.
        event_ports: ports of dada_dbevent for Stokes I and IQUV by compound beam, if not 30000 and 30001.
        pulsars: DM in pc cm^-3 of known pulsars by name.
        frbs: the same of known fast radio bursts.
        aliases: other names of these.
        instrument: its constants.

    """

    source: str
    start: datetime
    duration_s: float
    beams: tuple[int, ...] = (0,)
    source_beam: int = 0
    direction_deg: tuple[float, float] = (83.633, 22.0145)
    frame: str = "J2000"
    number: int = 1
    process_triggers: bool = True
    snr_min: float = 8.0
    ninstance: int = 3
    event_ports: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    pulsars: Mapping[str, float] = field(default_factory=lambda: {"B0531+21": 56.77})
    frbs: Mapping[str, float] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    instrument: Instrument = ARTS

    @property
    def start_packet(self) -> int:
        """Start of the data in the beamformer's time units since 1970."""
        microseconds = (self.start - EPOCH) // timedelta(microseconds=1)
        return (microseconds * self.instrument.time_unit_hz + 500_000) // 1_000_000

    @property
    def utc_start(self) -> datetime:
        """Start as the data headers carry it, in whole seconds: the nearest one."""
        return (self.start + timedelta(seconds=0.5)).replace(microsecond=0)

    @property
    def nbatch(self) -> int:
        """Number of batches in the data."""
        return int(self.duration_s / self.instrument.batch_s + 1e-6)

    @property
    def task_id(self) -> str:
        """Task ID: date and number."""
        return f"{self.utc_start:%y%m%d}{self.number:03d}"

    @property
    def date_time_source(self) -> str:
        """Name of the observation's folders: start and source."""
        return f"{header_text(self.utc_start)}.{self.source}"

    def write(self, folder: Path) -> ObservationFiles:
        """Write all files below a folder and make the folders for the output.

        The master node's controller folder is `controller`, what a node records goes below `master` or
        `CB<beam>`.

        Raises:
            ParsetError: the name of the source cannot be part of a path

        """
        check_path_component("task.source.name", self.source)
        controller = folder / "controller"
        parsets = controller / "parset"
        parsets.mkdir(parents=True, exist_ok=True)
        files = ObservationFiles(
            master=parsets / "darc_master.parset",
            workers={beam: parsets / f"darc_CB{beam:02d}.parset" for beam in self.beams},
            amber_dirs={beam: self._output_dir(folder, f"CB{beam:02d}") / "amber" for beam in self.beams},
            amber_config=controller / "amber.conf",
            source_list=controller / "source_list.yaml",
        )
        for amber_dir in files.amber_dirs.values():
            amber_dir.mkdir(parents=True, exist_ok=True)
        devices = list(range(1, self.ninstance + 1))
        files.amber_config.write_text(f"opencl_device={devices}\n", encoding="utf-8")
        sources = {"pulsars": self.pulsars, "frbs": self.frbs, "aliases": self.aliases}
        with files.source_list.open("w", encoding="utf-8") as stream:
            yaml.safe_dump({name: dict(content) for name, content in sources.items()}, stream)
        _write_parset(files.master, self.master_parset(folder))
        for beam, path in files.workers.items():
            _write_parset(path, self.worker_parset(folder, beam))
        return files

    def master_parset(self, folder: Path) -> dict[str, object]:
        """Return the observation config of the master node."""
        instrument = self.instrument
        task = "".join(f"{key} = {value}\n" for key, value in self.task_parset().items())
        return self._common_parset(folder, "master", self.beams[0]) | {
            "beams": list(self.beams),
            "nbeams": instrument.ncompound_beam,
            "source": self.source,
            "utc_start": header_text(self.utc_start),
            "mjd_start": f"{mjd(self.utc_start):.7f}",
            "time_unit": instrument.time_unit_hz,
            "freq": f"{instrument.centre_freq_mhz(instrument.min_freq_mhz):.8f}",
            "bw": f"{instrument.bandwidth_mhz:g}",
            "nchan": instrument.nchan,
            "chan_width": instrument.channel_width_mhz,
            "tsamp": instrument.tsamp_s,
            "nbit": instrument.nbit,
            "science_case": 4,
            "parset": encode_parset(task),
        }

    def worker_parset(self, folder: Path, beam: int) -> dict[str, object]:
        """Return the observation config of a worker node."""
        master_dir = folder / "controller"
        return self._common_parset(folder, f"CB{beam:02d}", beam) | {
            "taskid": self.task_id,
            "beam": beam,
            "master_dir": master_dir,
            "amber_cmd": "amber",
            "amber_config": master_dir / "amber.conf",
        }

    def task_parset(self) -> dict[str, object]:
        """Return the observation parset, which says what was asked for."""
        scheduled = timedelta(seconds=math.ceil(self.duration_s))
        direction = _direction(*self.direction_deg)
        dishes = [f"RT{dish}" for dish in range(2, 2 + self.instrument.ndish)]
        task: dict[str, object] = {
            "taskID": self.task_id,
            "fieldName": self.source,
            "observingMode": "arts_sc4_survey",
            "startTime": f"{self.utc_start:%Y-%m-%d %H:%M:%S}",
            "stopTime": f"{self.utc_start + scheduled:%Y-%m-%d %H:%M:%S}",
            "duration": scheduled.total_seconds(),
            "source.name": self.source,
            "source.beam": self.source_beam,
            "source.direction": direction,
            "directionReferenceFrame": self.frame,
            "telescopes": f"[{', '.join(dishes)}]",
            "beamSet.0.compoundBeams": f"[0..{self.instrument.ncompound_beam - 1}]",
        }
        for beam in self.beams:
            task[f"beamSet.0.compoundBeam.{beam}.phaseCenter"] = _direction(*self.phase_centre_deg(beam))
        return {f"task.{key}": value for key, value in task.items()}

    def phase_centre_deg(self, beam: int) -> tuple[float, float]:
        """Return the direction of a compound beam in degrees, flat-sky approximation."""
        east_deg, north_deg = (
            offset - centre
            for offset, centre in zip(_offset_deg(beam), _offset_deg(self.source_beam), strict=True)
        )
        longitude_deg, dec_deg = self.direction_deg[0], self.direction_deg[1] + north_deg
        sign = -1 if self.frame == "HADEC" else 1  # hour angle grows towards the west
        return (longitude_deg + sign * east_deg / math.cos(math.radians(dec_deg))) % 360, dec_deg

    def _common_parset(self, folder: Path, node: str, beam: int) -> dict[str, object]:
        instrument = self.instrument
        output_dir = self._output_dir(folder, node)
        port_i, port_iquv = self.event_ports.get(beam, (30000, 30001))
        return {
            "startpacket": self.start_packet,
            "duration": f"{self.nbatch * instrument.batch_s:.10g}",
            "nbatch": self.nbatch,
            "page_size": instrument.samples_per_batch,
            "date": f"{self.utc_start:%Y%m%d}",
            "datetimesource": self.date_time_source,
            "min_freq": instrument.min_freq_mhz,
            "ntabs": instrument.ntab,
            "nsynbeams": instrument.nsynthesised_beam,
            "obs_mode": "survey",
            "proctrigger": self.process_triggers,
            "enable_iquv": True,
            "snrmin": self.snr_min,
            "history_i": instrument.ring_buffer_s,
            "history_iquv": instrument.ring_buffer_s,
            "network_port_event_i": port_i,
            "network_port_event_iquv": port_iquv,
            "output_dir": output_dir,
            "amber_dir": output_dir / "amber",
        }

    def _output_dir(self, folder: Path, node: str) -> Path:
        return folder / node / f"{self.utc_start:%Y%m%d}" / self.date_time_source


def _offset_deg(beam: int) -> tuple[float, float]:
    """Return the offset of a compound beam from the centre of the field: east and north."""
    if beam == 0:
        return 0.0, 0.0
    place = beam - 1
    for row, (first, nbeam) in enumerate(_GRID_ROWS):
        if place < nbeam:
            return (first + place) * _GRID_DEG[0], (row - (len(_GRID_ROWS) - 1) / 2) * _GRID_DEG[1]
        place -= nbeam
    raise ValueError(f"compound beam {beam}: the grid has beams 0 to {sum(n for _, n in _GRID_ROWS)}")


def _direction(longitude_deg: float, latitude_deg: float) -> str:
    return f"[{longitude_deg:.6f}deg, {latitude_deg:.6f}deg]"


def _write_parset(path: Path, parset: Mapping[str, object]) -> None:
    path.write_text("".join(f"{key}={value}\n" for key, value in parset.items()), encoding="utf-8")
