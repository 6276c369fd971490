"""The other servers, each as its own documentation says is best; run from an environment of their own."""
