"""Fitting of heads and of whole nets, with exact resumption."""
