"""Types that many modules share."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    # Floating-point numbers of any precision.
    Real = npt.NDArray[np.floating[Any]]
else:
    # Stages that only read tables start without numpy, which takes a third of their time.
    Array = Real = Any
# One row of a table, by column.
Row = dict[str, Any]
# Metadata of a collection or an image, as the archive returns them.
Record = dict[str, Any]
