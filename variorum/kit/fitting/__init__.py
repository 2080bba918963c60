"""What attackers with photographs of their own share: pictures that fit, residuals, a detector that they train."""
