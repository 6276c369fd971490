"""The child of an evaluation with torch on a GPU."""

from workers.evaluation.child import main, stored
from workers.inference.torch_engine import open_torch

if __name__ == "__main__":
    main(stored(open_torch))
