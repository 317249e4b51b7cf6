"""What a run imports, for :mod:`tests.cli.forked`."""

import ssl_equiv.cli.pretrain
import ssl_equiv.methods  # noqa: F401
