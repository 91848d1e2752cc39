"""An ensemble as a service: many requests share each evaluation of an expert."""
