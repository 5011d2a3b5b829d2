"""Choice of the champion, and model cards."""
