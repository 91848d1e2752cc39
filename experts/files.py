"""Names of the files in a checkpoint. None of them needs unpickling.

========================= ======================================================================
file                      what it holds
========================= ======================================================================
state/*.safetensors       network, optimizer, and how many steps were averaged
ema.safetensors           the averaged weights alone, with the network's own keys
ema-N.safetensors         further averages, from 1, where a job tracks several
progress.json             step, data cursor, digest of the job, recent steps of the curve, and what
                          the guard against spikes knows
history.json              the learning curve: a list of :class:`experts.watching.history.Point`
grid.png                  sample images, in the last checkpoint of a job that draws any
========================= ======================================================================
"""

from atoll import layout

STATE = "state"
EMA = "ema.safetensors"
PROGRESS = "progress.json"
HISTORY = layout.HISTORY
GRID = "grid.png"


def average_file(number: int) -> str:
    """The file of one of the averages that a job tracks; that of the first is :data:`EMA`."""
    return f"ema-{number}.safetensors" if number else EMA
