"""What services that tell other telescopes have in common: queue, switch, limits, sending in order."""
