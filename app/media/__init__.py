"""Audio, video and MIDI from bytes that nobody trusts: decoded in a child process with limits."""
