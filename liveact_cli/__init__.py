"""LiveAct: a recording and one picture of a person become a talking video."""

__version__ = "0.1.0"
