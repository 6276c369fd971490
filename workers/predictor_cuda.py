"""The predictor process with torch on a GPU."""

from workers.predictor import main
from workers.torch_engine import open_torch

if __name__ == "__main__":
    main(open_torch)
