"""A dialogue with a champion."""
