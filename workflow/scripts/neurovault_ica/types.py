"""Types that many modules share."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
# Floating point of any precision.
Real = npt.NDArray[np.floating[Any]]
# One row of a table, by column.
Row = dict[str, Any]
# Metadata of a collection or an image, as the archive returns them.
Record = dict[str, Any]
