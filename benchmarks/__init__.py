"""One module per figure or group of figures that the README quotes; run.py runs them all."""
