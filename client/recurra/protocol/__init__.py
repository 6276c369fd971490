"""HTTP as steps: what is sent, when it is sent again, how a stream is read; and what carries them out."""
