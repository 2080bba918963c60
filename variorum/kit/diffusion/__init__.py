"""Generate pictures with diffusion models: routes, windows, drawing."""
