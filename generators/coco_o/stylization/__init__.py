"""Draw photographs as sketches, cartoons, paintings, weather, handicraft and tattoos."""
