"""Runs the command line: `python -m liveact_cli`."""

import sys

from liveact_cli.cli.main import main

sys.exit(main())
