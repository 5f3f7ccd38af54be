"""Models of the sections of the services that process data; see `darc.config.sections`."""

from __future__ import annotations

from math import inf
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from darc.config.sections import Recipients, SbFilter
from darc.config.types import (
    Allowed,
    CleanType,
    Command,
    Count,
    FilePath,
    Flag,
    Fraction,
    GroupingMethod,
    Index,
    Limit,
    NotNegative,
    Number,
    PlotTypes,
    Positive,
    Section,
    Text,
    mistake,
)


class TableFiles(Section):
    """Name of a table per science case."""

    sc3: Text
    sc4: Text


class BeamCounts(Section):
    """Number of beams per science case."""

    sc3: Count
    sc4: Count


class SBGenerator(Section):
    """How synthesised beams are made of tied-array beams."""

    table_folder: FilePath
    table: TableFiles
    numtab: BeamCounts
    numsb: BeamCounts


class ProcessorMaster(Section):
    """Combines the results of all beams."""

    log_file: FilePath
    scavenger_interval: Positive
    check_interval: Positive
    max_wait_time: NotNegative
    late_time: NotNegative
    ntrig_email_max: Index
    webdir: FilePath
    web_url: Text | None
    email_settings: Recipients


class Clustering(SbFilter):
    """Grouping of triggers for the processor."""

    output_file: Text
    dm_min: NotNegative
    dm_max: Limit
    snr_min_clustering: NotNegative
    snr_min: NotNegative
    method: GroupingMethod
    clustering_window: Positive
    width_max: Limit


class Extractor(Section):
    """Extraction of a candidate's data."""

    dm_halfrange: NotNegative
    ndm: Count
    ntime: Count
    nfreq: Count
    delay: NotNegative
    rfi_mask: FilePath
    rfi_apply_mask: Flag
    rfi_clean_type: CleanType
    rfi_threshold_time: Positive
    rfi_n_iter_time: Index
    rfi_threshold_freq: Positive
    rfi_n_iter_freq: Index
    rfi_bin_size: Count
    snr_min_local: NotNegative


class Classifier(Section):
    """Classification of candidates by two networks."""

    gpu: Index | None
    thresh_freqtime: Fraction
    thresh_dmtime: Fraction
    ndm: Count
    ntime: Count
    nfreq: Count
    model_dir: FilePath | None
    model_freqtime: Text
    model_dmtime: Text


class Visualizer(Section):
    """Plots of candidates."""

    nplot_per_side: Count
    figsize: Positive
    cmap_freqtime: Text
    cmap_dmtime: Text
    colour_1dtime: Text
    plot_types: PlotTypes
    npicture_max: Index


class Processor(Section):
    """Extracts, classifies and plots the candidates of one beam in real time."""

    log_file: FilePath
    scavenger_interval: Positive
    interval: Positive
    num_extractor: Count
    output_subdir: Text
    result_dir: FilePath
    stop_delay: NotNegative
    clustering: Clustering
    extractor: Extractor
    classifier: Classifier
    visualizer: Visualizer


class TestPulsar(Section):
    """A pulsar that is folded; without a position, the period is that at the telescope."""

    period_s: Positive
    dm: NotNegative
    period_derivative: Number = 0.0
    epoch_mjd: Number | None = None
    position_deg: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None

    @field_validator("position_deg")
    @classmethod
    def _on_the_sky(cls, position_deg: list[float] | None) -> list[float] | None:
        if position_deg is not None and abs(position_deg[1]) > 90:
            raise mistake("has to be right ascension and declination in degrees")
        return position_deg


class FluxModel(Section):
    """Flux density of a calibrator; see `darc.science.drift_scan.FluxModel`."""

    coefficients: Annotated[list[Number], Field(min_length=1)]
    range_mhz: Annotated[list[Positive], Field(min_length=2, max_length=2)]


class OfflineProcessing(Section):
    """Processing after the end of an observation."""

    log_file: FilePath
    delay: NotNegative
    process_sb: Flag
    numthread: Count
    result_dir: FilePath
    interval: Positive
    timeout: Positive
    pthresh_freqtime: Fraction
    pthresh_dmtime: Fraction
    cmap: Text
    ntime_plot: Count
    nfreq_plot: Count
    ndm: Count
    snrmin_processing: NotNegative
    snrmin_processing_local: NotNegative
    dmmin: Number
    dmmax: Number
    dmgal_frac: NotNegative
    clean_type: CleanType
    max_proc_time: Positive
    ml_gpus: Annotated[int | str | list[int] | None, Allowed("the number of a GPU, or a list of them")]
    test_pulsars: Annotated[
        list[Text] | dict[Text, TestPulsar | None],
        Allowed("a list of names, or a mapping of names to period_s (s) and dm (pc/cm3)"),
    ]
    calibrators: Annotated[
        list[Text] | dict[Text, FluxModel | Positive | None],
        Allowed("a list of names, or a mapping of names to coefficients and range_mhz, or to Jy"),
    ]
    key_ntriggers_skipped: Text
    keys_data: list[Text]
    model_dir: FilePath | None
    model_1dtime: Text | None
    model_dmtime: Text
    model_freqtime: Text
    calibration_dir: FilePath
    emailer: Command
    triggering: Command
    classifier: Command
    prepfold: Command
    calibration_tools: Command
    drift_zero_level: NotNegative
    external_timeout: Positive
    known_frbs: FilePath | None
    known_frbs_dm_window: NotNegative
    fetch_after_obs: Annotated[bool | str | list[Text] | None, Allowed("true, false, or a command")]

    @field_validator("keys_data")
    @classmethod
    def _without_that_of_skipped(cls, keys_data: list[str], info: ValidationInfo) -> list[str]:
        if info.data.get("key_ntriggers_skipped") in keys_data:
            raise mistake("must not hold the name that key_ntriggers_skipped has")
        return keys_data

    @field_validator("dmmax")
    @classmethod
    def _above_dmmin(cls, dmmax: float, info: ValidationInfo) -> float:
        if dmmax <= info.data.get("dmmin", -inf):
            raise mistake("has to be above dmmin")
        return dmmax
