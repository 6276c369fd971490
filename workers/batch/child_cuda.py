"""The child of a batch prediction with torch on a GPU."""

from workers.batch.child import main
from workers.inference.torch_engine import open_torch

if __name__ == "__main__":
    main(open_torch)
