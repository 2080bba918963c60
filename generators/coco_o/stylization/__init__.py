"""Photographs in the manner of sketches, cartoons, paintings, weather, handicraft and tattoos, as plain functions."""
