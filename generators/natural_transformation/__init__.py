"""Common corruptions of photographs as plain functions: noise, blur, weather, digital faults."""

COMPONENTS = ("natural_transformation",)
