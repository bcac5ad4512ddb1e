"""usage: set_row_id.py FOLDER TENSOR ROW: sets the first number of a tensor of row numbers."""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "scripts"))
from checkpoints import read_checkpoint, write_checkpoint  # noqa: E402

folder, name, row = sys.argv[1:]
config, tensors = read_checkpoint(folder)
tensors = {key: (dtype, np.array(array)) for key, (dtype, array) in tensors.items()}
tensors[name][1][0] = int(row)
write_checkpoint(folder, config, tensors)
