"""Every error a user or a caller can meet.

::

    AtollError
    ├── BadInput                what was given cannot be used; the user mends it; exit code 2
    │   ├── ConfigError         a key of the configuration
    │   ├── DataError           a data set, an image, a tar
    │   └── StageMissing        a stage was asked for before the one it builds on
    ├── BlobError
    │   ├── BlobMissing         nothing is stored under the key
    │   ├── BlobExists          the key is write-once and taken
    │   ├── BlobDamaged         the bytes do not match their digest
    │   ├── CheckpointDamaged   a file of a checkpoint is gone, or not what was written
    │   └── StorageFull         no space or quota left; nothing was published
    ├── CheckpointMismatch      parts that do not fit together (``compat`` digests differ)
    ├── ControlError
    │   ├── LeaseLost           the lease belongs to somebody else by now: stop working
    │   ├── Refused             the control plane understood the call and said no
    │   │   ├── Forbidden       this caller may not make it
    │   │   └── OverBudget      the run would take more than its [budget] allows; exit code 3
    │   └── Unreachable         no answer; not the same as dead, try again
    │       ├── Busy            the control plane has no room for one more such call
    │       └── Deposed         another orchestrator leads the run by now
    ├── NotFound                nothing goes by that name, or no more
    ├── Leapt                   a loss or gradient did; training goes back to its last checkpoint
    ├── OutOfMemory             a training process needs more than there is
    ├── IslandError             a node could not be started or stopped
    ├── JobFailed               a job used up its budget of failures
    ├── NotDrawn                images that a service had accepted failed, or were cancelled
    └── Interrupted             the user asked to stop; all is safe; exit code 130

Errors carry a whole sentence that says what to do next, and keep their cause. ``None`` never means
failure.
"""


class AtollError(Exception):
    """Root of the tree; its text is one sentence for a person."""

    exit_code = 1


class BadInput(AtollError):
    """Something the user gave cannot be used."""

    exit_code = 2


class ConfigError(BadInput):
    """A key of the configuration is unknown, missing or out of range."""


class DataError(BadInput):
    """A data set, or one item of it, cannot be read."""


class StageMissing(BadInput):
    """A stage needs the result of an earlier one that is not there."""


class BlobError(AtollError):
    """The blob store could not do what was asked."""


class BlobMissing(BlobError):
    """Nothing is stored under the key."""


class BlobExists(BlobError):
    """The key is write-once and already taken."""


class BlobDamaged(BlobError):
    """The stored bytes do not match their digest."""


class CheckpointDamaged(BlobError):
    """A file of a committed checkpoint is gone, or a byte of it is not what was written."""


class StorageFull(BlobError):
    """The store has no space left; nothing was published under the key."""


class CheckpointMismatch(AtollError):
    """Checkpoints that do not belong together were asked to work together."""

    exit_code = 2


class ControlError(AtollError):
    """A call to the control plane did not succeed."""


class LeaseLost(ControlError):
    """The lease has expired or was granted to another island under a newer epoch."""


class Refused(ControlError):
    """The control plane refused the call; trying again will not help."""


class Forbidden(Refused):
    """The caller is not who may make the call, or cannot show it."""


class OverBudget(Refused):
    """The run would take more than its budget allows; all is safe."""

    exit_code = 3


class Unreachable(ControlError):
    """The control plane did not answer in time. It may well be alive."""


class Busy(Unreachable):
    """The control plane serves as many such calls as it can; it may have room later."""


class Deposed(Unreachable):
    """This orchestrator leads no more, and can write nothing; another one answers."""


class NotFound(AtollError):
    """Nothing goes by that name, or it is kept no more."""


class Leapt(AtollError):
    """A step's loss or gradient leapt up; training is to go back to its last checkpoint.

    Attributes:
        passed: samples that are not to be learnt from again, see :class:`atoll.types.Assignment`.
    """

    def __init__(self, reason: str, passed: int) -> None:
        super().__init__(reason)
        self.passed = passed


class OutOfMemory(AtollError):
    """A training process asked for more memory than its machine, or its GPU, has left."""


class IslandError(AtollError):
    """A provider could not start, find or stop a node."""


class JobFailed(AtollError):
    """A job failed more often than its budget allows."""


class NotDrawn(AtollError):
    """A service accepted images and could not draw them, or was told not to."""


class Interrupted(AtollError):
    """The user asked to stop in the middle; the same command goes on from there."""

    exit_code = 130
