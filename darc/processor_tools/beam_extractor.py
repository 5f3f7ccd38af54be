"""Clusters of one observation cut out of its filterbank files, in real time and afterwards."""

from __future__ import annotations

import logging

import numpy as np

from darc.config import processing
from darc.errors import DARCError
from darc.formats import candidate as candidates
from darc.formats.filterbank import FilterbankError, FilterbankTruncatedError
from darc.processor_tools.beam import ObservedBeam
from darc.processor_tools.filterbank_reader import (
    FilterbankGeometryError,
    FilterbankMissingError,
    FilterbankReader,
    SynthesisedBeamReader,
    TiedArrayBeams,
)
from darc.processor_tools.ledger import Cluster
from darc.processor_tools.rfi_mask import find_mask, read_mask
from darc.processor_tools.sb_generator import SBGenerator, SBGeneratorError
from darc.science import extraction
from darc.science.dedispersion import Band
from darc.science.rfi import Cleaning, masked_channels

#: Why a cluster becomes no candidate, as it is counted, the first that fits; the log has the whole message.
REASONS: tuple[tuple[type[DARCError], str], ...] = (
    (FilterbankMissingError, "filterbank missing"),
    (FilterbankTruncatedError, "filterbank too short"),
    (FilterbankGeometryError, "filterbank of the wrong geometry"),
    (FilterbankError, "filterbank not readable"),
    (SBGeneratorError, "no such synthesised beam"),
    (extraction.TooFaintError, "too faint in the data"),
    (extraction.ExtractionError, "not in the data"),
    (candidates.CandidateError, "file not written"),
    (DARCError, "not extractable"),
)


def extraction_settings(section: processing.Extractor) -> extraction.Settings:
    """Return the settings of the extraction that the configuration asks for."""
    return extraction.Settings(
        dm_halfrange=section.dm_halfrange,
        ndm=section.ndm,
        ntime=section.ntime,
        nfreq=section.nfreq,
        snr_min_local=section.snr_min_local,
        cleaning=Cleaning(
            clean_type=section.rfi_clean_type,
            threshold_time=section.rfi_threshold_time,
            n_iter_time=section.rfi_n_iter_time,
            threshold_freq=section.rfi_threshold_freq,
            n_iter_freq=section.rfi_n_iter_freq,
            bin_size=section.rfi_bin_size,
        ),
    )


def channels_to_mask(section: processing.Extractor, band: Band, logger: logging.Logger) -> list[int]:
    """Return the channels to leave out, as numbered in the mask; interference is better than no data."""
    if not section.rfi_apply_mask:
        return []
    try:
        mask = read_mask(find_mask(section.rfi_mask, band.centre_mhz))
        masked_channels(mask, band.nchan, descending=band.descending)
    except DARCError as error:
        logger.error("no channel is masked: %s", error)
        return []
    return mask


def reason_for(error: DARCError) -> str:
    """Return under which reason a failure is counted."""
    return next(reason for kind, reason in REASONS if isinstance(error, kind))


class BeamExtractor:
    """Extracts the data of clusters from the files of the tied-array beams (TABs) of an observation.

    Args:
        beam: what was observed
        settings: how to extract
        beam_settings: how synthesised beams (SBs) are made
        logger: for what costs quality, but not the candidate
        tied_array: the beam of a cluster is a TAB, not an SB

    Raises:
        SBGeneratorError: no SBs are known for the number of TABs
        SBTableError: the site's table of SBs cannot be used
    """

    def __init__(
        self,
        beam: ObservedBeam,
        settings: processing.Extractor,
        beam_settings: processing.SBGenerator,
        logger: logging.Logger,
        *,
        tied_array: bool = False,
    ) -> None:
        self.beam, self.settings = beam, settings
        self._logger = logger
        self._files = TiedArrayBeams(beam.filterbanks)
        self._beams = None
        if beam.ntab > 1 and not tied_array:
            self._beams = SBGenerator.for_observation(beam_settings, beam.ntab, beam.instrument)
            logger.info("synthesised beams: %s", self._beams.source)
        self._mask = channels_to_mask(settings, beam.band, logger)
        self._extractors: dict[Band, extraction.Extractor] = {}

    def extract(self, cluster: Cluster, last_chance: bool = True) -> candidates.Candidate:
        """Extract a cluster.

        Args:
            cluster: what to extract
            last_chance: use what data there are, since no more can be expected

        Raises:
            DARCError: there is no candidate; `reason_for` says why in a few words
        """
        reader = self._reader(cluster.sb)
        header = reader.header
        extractor = self._extractor(Band(header.fch1_mhz, header.foff_mhz, header.nchan, header.tsamp_s))
        detection = extraction.Detection(cluster.dm, cluster.time_s, cluster.width)
        todo = extractor.plan(detection, reader.nsample if last_chance else None)
        found = extractor.extract(reader.read(todo.start, todo.stop - todo.start), todo)
        return candidates.Candidate(
            data_freq_time=found.data_freq_time,
            data_dm_time=found.data_dm_time,
            dms=np.asarray(found.dms, np.float64),
            tsamp_s=header.tsamp_s,
            sb=cluster.sb,
            dm=found.dm,
            snr=found.snr,
            toa_s=found.time_s,
            downsamp=found.width,
            dm_amber=cluster.dm,
            snr_amber=cluster.snr,
            toa_amber_s=cluster.time_s,
            downsamp_amber=cluster.width,
            nsamp_bin=found.downsampling,
        )

    def _reader(self, sb: int) -> FilterbankReader | SynthesisedBeamReader:
        if self._beams is None:
            return self._files.reader(sb if self.beam.ntab > 1 else 0)
        return SynthesisedBeamReader(self._files, self._beams.row(sb))

    def _extractor(self, band: Band) -> extraction.Extractor:
        if band not in self._extractors:
            if differences := self.beam.differences(band):
                self._files.close()  # the file may be replaced
                raise FilterbankGeometryError(
                    f"{self.beam.filterbanks[0].parent}: not the data of this observation: "
                    f"{', '.join(differences)}"
                )
            self._extractors[band] = extraction.Extractor(
                band, extraction_settings(self.settings), self._mask
            )
        return self._extractors[band]

    def close(self) -> None:
        """Close the files."""
        self._files.close()
