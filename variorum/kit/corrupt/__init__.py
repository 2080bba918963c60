"""Corrupt photographs: noise, blur, weather, light, digital faults, as plain functions."""
