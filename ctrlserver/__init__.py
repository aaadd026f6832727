"""A control server for test environments, and its load generator.

Rule: the version is stated here and nowhere else.
"""

__version__ = "0.1.0"
