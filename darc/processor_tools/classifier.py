"""The third step: how probable it is that a candidate is a burst."""

from __future__ import annotations

from typing import Any

from darc.config import Config
from darc.errors import DARCError
from darc.formats.candidate import CandidateError, Floats, store_probabilities
from darc.processor_tools.messages import Classified, Classify
from darc.processor_tools.networks import PACKAGED_MODELS, Network, NetworkError
from darc.processor_tools.step import Settings, Step


class Classifier(Step):
    """Gives candidates the probabilities of two networks, and says which are kept."""

    section = "classifier"

    def _settings(self, config: Config) -> Settings:
        self.extracted = config.processor.extractor
        return super()._settings(config)

    def set_up(self) -> None:
        """Load the networks."""
        settings, there = self.settings, self.extracted
        for key in ("ndm", "ntime", "nfreq"):
            if getattr(settings, key) > getattr(there, key):
                raise NetworkError(
                    f"classifier.{key} is {getattr(settings, key)}, but extractor.{key} only "
                    f"{getattr(there, key)}: candidates cannot be reduced to that"
                )
        folder = settings.model_dir or PACKAGED_MODELS
        self._freqtime = Network(
            folder / settings.model_freqtime, (settings.nfreq, settings.ntime), settings.gpu
        )
        self._dmtime = Network(folder / settings.model_dmtime, (settings.ndm, settings.ntime), settings.gpu)
        if settings.gpu is not None and not self._freqtime.on_gpu:
            self.logger.warning("no GPU build of ONNX Runtime is installed: classifying on the CPU")

    def work(self, content: Any) -> None:
        """Classify a candidate and answer whether it is kept."""
        if not isinstance(content, Classify):
            raise DARCError(f"a classifier cannot do this: {content!r:.200}")
        number, path = content.number, content.path
        try:
            freqtime, dmtime = store_probabilities(path, self._judge)
        except DARCError as error:
            self.logger.error("not classified: %s", error)
            reason = "damaged or not written" if isinstance(error, CandidateError) else "no probability"
            self.answer(Classified(self.name, number, path, reason=reason))
        else:
            settings = self.settings
            keep = freqtime >= settings.thresh_freqtime and dmtime >= settings.thresh_dmtime
            self.logger.info(
                "%s: %s, probabilities %.3f (frequency-time) and %.3f (DM-time)",
                path.name, "kept" if keep else "dropped", freqtime, dmtime,
            )  # fmt: skip
            self.answer(Classified(self.name, number, path, keep))

    def _judge(self, data_freq_time: Floats, data_dm_time: Floats) -> tuple[float, float]:
        return self._freqtime.probability(data_freq_time), self._dmtime.probability(data_dm_time)
