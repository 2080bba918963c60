"""Fit small networks and distortions to photographs."""
