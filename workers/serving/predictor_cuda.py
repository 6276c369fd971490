"""The predictor process with torch on a GPU."""

from workers.inference.torch_engine import open_torch
from workers.serving.predictor import main

if __name__ == "__main__":
    main(open_torch)
