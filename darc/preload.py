"""What the process that services are forked from does once, so that each of them starts at once."""

import astropy.time  # noqa: F401

import darc.science.pointing  # noqa: F401 (with astropy.coordinates, and kept from the network)
from darc.config import Config

# the models are built at their first use
Config.model_rebuild()
