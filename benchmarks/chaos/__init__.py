"""A stream of small jobs while everything around them is killed, frozen, flushed and cut off at random."""
