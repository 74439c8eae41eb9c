"""Offline, shared by all of it: images read, scored by an engine, and drawn for eyes. No torch, no limits, no truth."""
