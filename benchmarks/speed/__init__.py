"""Images a second, seconds and bytes of the pipeline and of the server."""
