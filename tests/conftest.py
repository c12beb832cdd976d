"""For all tests: Ctrl-C means what it means, also where pytest itself was started in the background."""

import signal

# A shell starts background jobs with SIGINT ignored, and what they start inherits that: stages could not be interrupted.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
