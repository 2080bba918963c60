"""Statistics of people's answers: agreement, consensus, sampling, estimates."""
