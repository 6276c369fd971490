"""The protocols of clients that people already have, beside this service's own: one module for each part."""
