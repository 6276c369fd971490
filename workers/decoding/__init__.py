"""Decoding step by step: continuous batching, sampling, beam search, Viterbi."""
