"""`python -m seqgen.cli`."""

import sys

from seqgen.cli.main import main

sys.exit(main())
