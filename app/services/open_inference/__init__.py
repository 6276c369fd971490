"""The Open Inference Protocol v2: tensors, messages, metadata."""
