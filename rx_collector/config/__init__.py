"""Descriptions: how a component declares its options, and how a YAML file is read with the place of everything in it."""
