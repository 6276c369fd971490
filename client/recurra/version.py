"""The version of this package, and of the server's distribution, which depends on exactly this one."""

VERSION = "0.1.0"
