"""Weigh people's answers: consensus, sampling, estimates."""
