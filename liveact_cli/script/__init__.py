"""The direction script: timed emotions and actions in YAML, placed on the frames of a recording."""
