"""Editions on the Hugging Face Hub: what is published, what may not be, and how editions come back."""
