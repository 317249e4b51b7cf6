"""Command line of the parity check."""

import sys

from tests.parity import main

if len(sys.argv) != 2:
    sys.exit("usage: python -m tests.parity DIR")
sys.exit(main(sys.argv[1]))
