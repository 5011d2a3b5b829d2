"""A trained model that answers requests: limits, films, answers, the guard in front, the page."""
