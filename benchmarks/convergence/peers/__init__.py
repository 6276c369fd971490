"""Programs that train with other libraries, in an environment of their own."""
