"""What holds for every test."""

import os

# Before torch is loaded: its threads spin while they wait for each other, and on a machine that is
# busy with something else a suite of small networks then takes seven times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
