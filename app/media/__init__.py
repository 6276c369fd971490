"""Decoders of audio, video and MIDI files, which run in a child process under limits."""
