"""Types that many modules share."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Real = npt.NDArray[np.floating[Any]]
# One row of a table, by column.
Row = dict[str, Any]
# Metadata of a collection or an image as the archive gives them.
Record = dict[str, Any]
