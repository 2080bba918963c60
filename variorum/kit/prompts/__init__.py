"""Write prompts, from templates and from what pictures show."""
