"""Tells the world: turns triggers into VOEvents and hands them to a broker."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astropy.coordinates import SkyCoord

from darc.errors import DARCError
from darc.events.trigger_service import TriggerService
from darc.formats import voevent
from darc.formats.files import write_complete
from darc.formats.trigger import NEEDED_BY_VOEVENT, NEW_SOURCE
from darc.formats.utc import as_astropy, isot_text, parse_utc
from darc.network.queue_server import QueueServer
from darc.network.vtp import TransportError, send_voevent
from darc.records.sent_log import Event
from darc.science.pointing import galactic, position_angle_deg
from darc.science.radiometer import gain_k_per_jy

#: What the importance of an event is based on.
CRITERIA = (
    "S/N, DM beyond that of the Galaxy, and width of a single pulse; not classified, not checked by a human"
)
#: Number of documents of the same arrival time that are stored beside each other.
_MAX_OF_A_TIME = 1000


class VOEventGeneratorException(DARCError):  # noqa: N818 (documented name)
    """No VOEvent can be made or sent as asked."""


class VOEventQueueServer(QueueServer):
    """Server for the VOEvent input queue."""


class VOEventGenerator(TriggerService):
    """Convert incoming triggers to VOEvents and send them to the VOEvent broker."""

    voevent_dir: Path
    broker_host: str | None
    broker_port: int
    broker_timeout: float
    retries: int
    institute: str
    instrument_name: str
    contact_name: str | None
    contact_email: str | None
    short_name: str

    server_class = VOEventQueueServer
    needed = NEEDED_BY_VOEVENT
    known_first = False
    event_name = "VOEvent"
    unreachable = TransportError
    # the broker recognises a document by its ivorn
    repeat = True

    def prepare(self) -> None:
        """Send what waits from earlier, and start to collect."""
        super().prepare()
        self._warm_up()

    def _warm_up(self) -> None:
        """Make a document for nobody: what libraries load at first use must not delay the first event."""
        now = isot_text(datetime.fromtimestamp(self.clock(), UTC))
        nothing = dict.fromkeys(NEEDED_BY_VOEVENT, 0.0)
        voevent.validate(self._document({**nothing, "name": NEW_SOURCE, "utc": now}))

    def make_event(self, trigger: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        """Make a VOEvent of a trigger, and store it.

        Args:
            trigger: checked item

        Raises:
            DARCError: a value does not fit a VOEvent, or it cannot be stored
        """
        document = self._document(trigger)
        path = self._store(document, trigger["utc"])
        content = {
            "ivorn": voevent.parse(document).ivorn,
            "document": str(path),
            "receiver": f"{self.broker_host}:{self.broker_port}",
        }
        return self.is_test(trigger.get("test")), content

    def shown(self, event: Event) -> str:
        """Return what the log says of an event: where its document is."""
        return str(event.content["document"])

    def preview(self, trigger: dict[str, Any]) -> str:
        """Return the document of a checked trigger, after validating it."""
        document = self._document(trigger)
        voevent.validate(document)
        valid = "the document is valid (VOEvent 2.0)"
        whom = f"{self.broker_host}:{self.broker_port} (VTP)"
        if not self.broker_host:
            whom = "nobody: voevent_generator.broker_host is not configured"
        return f"to {whom}\n{document.decode().strip()}\n{valid}"

    def transmit(self, event: Event) -> str:
        """Send a stored document to the broker.

        Raises:
            DARCError: it was not sent, or the broker refuses it
        """
        return self._send(Path(event.content["document"]))

    @property
    def attempts(self) -> int:
        """Number of attempts to send an event while the caller waits."""
        return self.retries + 1

    # --- documents -----------------------------------------------------------------------------------------

    def _document(self, trigger: dict[str, Any]) -> bytes:
        """Return the document of a trigger, with what follows from its position and time."""
        coord = SkyCoord(trigger["ra"], trigger["dec"], unit="deg")
        gl, gb = galactic(coord)
        optional = {key: trigger[key] for key in ("delta_nu_MHz", "nu_GHz") if trigger.get(key) is not None}
        if trigger.get("dt") is not None:
            optional["dt"] = trigger["dt"] * 1e3  # from s to ms
        return self._NewVOEvent(
            **{key: trigger[key] for key in NEEDED_BY_VOEVENT},
            gl=float(gl),
            gb=float(gb),
            gain=gain_k_per_jy(self.instrument),
            posang=float(position_angle_deg(coord, as_astropy(trigger["utc"]), self.instrument)),
            test=trigger.get("test"),
            beam=None if trigger.get("cb") is None else int(trigger["cb"]),
            **optional,
        )

    def _NewVOEvent(  # noqa: N802 (documented name)
        self,
        dm: float,
        dm_err: float,
        width: float,
        snr: float,
        flux: float,
        ra: float,
        dec: float,
        semiMaj: float,  # noqa: N803
        semiMin: float,  # noqa: N803
        ymw16: float,
        name: str,
        importance: float,
        utc: str,
        gl: float,
        gb: float,
        gain: float,
        dt: float = 0.08192,
        delta_nu_MHz: float = 0.1953125,  # noqa: N803
        nu_GHz: float = 1.37,  # noqa: N803
        posang: float = 0,
        test: bool | None = None,
        beam: int | None = None,
    ) -> bytes:
        """Create a VOEvent.

        Args:
            dm: dispersion measure in pc cm^-3
            dm_err: error on DM in pc cm^-3
            width: pulse width in ms
            snr: signal-to-noise ratio
            flux: peak flux density in Jy
            ra: right ascension in deg
            dec: declination in deg
            semiMaj: semi-major axis of the localisation region in arcmin
            semiMin: its semi-minor axis in arcmin
            ymw16: Galactic maximum DM in pc cm^-3
            name: source name, `candidate` for a new source
            importance: 0 to 1
            utc: UTC arrival time in ISOT format
            gl: Galactic longitude in deg
            gb: Galactic latitude in deg
            gain: telescope gain in K/Jy
            dt: time resolution in ms
            delta_nu_MHz: width of a channel in MHz
            nu_GHz: centre frequency in GHz
            posang: position angle of the localisation region in deg
            test: whether this is a test; the configuration can make every event one

            beam: compound beam, if known

        Returns:
            the document

        Raises:
            VOEventError: a value does not fit a VOEvent
        """
        instrument = self.instrument
        event = voevent.FRBEvent(
            institute=self.institute,
            instrument=self.instrument_name,
            contact_name=self.contact_name or self.short_name,
            contact_email=self.contact_email or "",
            observatory=instrument.observatory,
            created=datetime.fromtimestamp(self.clock(), UTC),
            test=self.is_test(test),
            arrival_time=parse_utc(utc),
            ra_deg=ra,
            dec_deg=dec,
            importance=importance,
            importance_description=CRITERIA,
            source_name="" if name == NEW_SOURCE else name,
            semi_major_arcmin=semiMaj,
            semi_minor_arcmin=semiMin,
            rotation_angle_deg=posang,
            sampling_time_ms=dt,
            bandwidth_mhz=instrument.bandwidth_mhz,
            nchan=round(instrument.bandwidth_mhz / delta_nu_MHz),
            centre_freq_mhz=nu_GHz * 1e3,
            npol=instrument.npol,
            nbit=instrument.nbit,
            gain_k_per_jy=gain,
            tsys_k=instrument.system_temperature_k,
            backend=instrument.backend,
            beam=beam,
            dm=dm,
            dm_error=dm_err,
            width_ms=width,
            snr=snr,
            flux_jy=flux,
            gl_deg=gl,
            gb_deg=gb,
            mw_dm_limit=ymw16,
            galactic_model=self.config.amber_clustering.galaxy_model.upper(),
        )
        return voevent.build(event)

    def _store(self, document: bytes, utc: str) -> Path:
        """Validate a document and write it, complete or not at all, beside others of the same time."""
        voevent.validate(document)
        folder = Path(self.voevent_dir)
        names = (f"{utc}.xml", *(f"{utc}.{number}.xml" for number in range(2, _MAX_OF_A_TIME + 1)))
        path = next((folder / name for name in names if not (folder / name).exists()), folder / names[0])
        write_complete(path, document, VOEventGeneratorException, durable=True)
        self.logger.info("VOEvent stored as %s", path)
        return path

    # --- sending -------------------------------------------------------------------------------------------

    def _send(self, path: Path) -> str:
        """Send a stored document to the broker once, and return who took it."""
        host, port = self.broker_host, self.broker_port
        if host is None:
            raise VOEventGeneratorException(
                "sending is enabled, but voevent_generator.broker_host is not configured"
            )
        try:
            document = path.read_bytes()
        except OSError as error:
            raise VOEventGeneratorException(f"{path} is not there any more: {error.strerror}") from error
        receipt = send_voevent(host, port, document, timeout_s=self.broker_timeout)
        if receipt.is_known:
            # its answer to an earlier attempt did not come here
            self.logger.warning("%s sent to %s:%d, which %s had already", path, host, port, receipt.by)
            return receipt.by
        if not receipt.accepted:
            raise VOEventGeneratorException(f"{path} is refused by {receipt.by}: {receipt.reason}")
        self.logger.warning("%s sent to %s:%d, accepted by %s", path, host, port, receipt.by)
        return receipt.by
